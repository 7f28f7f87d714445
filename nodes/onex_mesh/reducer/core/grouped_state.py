"""The state of a grouped aggregation as plain JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from onex_mesh.reducer.core.aggregates.fold import Fold
from onex_mesh.reducer.core.aggregates.states import fields_of, refused
from onex_mesh.reducer.core.keys import Key
from onex_mesh.reducer.core.scalars import from_json, ranked, to_json, value_of
from onex_mesh.reducer.core.slots import Slot

_FIELDS = {"of", "watermark", "groups"}
_COLUMNS = 4


@dataclass(frozen=True, slots=True)
class Kept:
    """What a state holds."""

    slots: Mapping[Slot, tuple[Fold, ...]]
    watermark: int | None


def write_groups(
    described: Mapping[str, object], watermark: int | None, slots: Iterable[tuple[Slot, tuple[Fold, ...]]]
) -> dict[str, object]:
    """The state of these aggregates.

    Args:
        described: What they are; a state of others cannot be continued.
        watermark: In microseconds since 1970.
        slots: The aggregates by window and key.
    """
    has_window = described["window"] is not None
    groups = [
        [
            [to_json(value_of(part)) for part in slot.key],
            *((str(slot.start), str(slot.end)) if has_window else (None, None)),
            [fold.state() for fold in folds],
        ]
        for slot, folds in slots
    ]
    return {"of": dict(described), "watermark": None if watermark is None else str(watermark), "groups": groups}


def read_groups(
    state: object, described: Mapping[str, object], empty: Sequence[Fold], key_size: int, path: str
) -> Kept:
    """The aggregates that a state holds.

    Raises:
        StateConsistencyError: It is no such state, or one of other aggregates, keys or windows.
    """
    fields = fields_of(state, _FIELDS, path, "expected the state of a grouped aggregation {of, watermark, groups}")
    if fields["of"] != described:
        raise refused(f"{path}.of", f"the state is one of {fields['of']}, not of {dict(described)}")
    has_window = described["window"] is not None
    watermark = fields["watermark"]
    groups = fields["groups"]
    if not isinstance(groups, list):
        raise refused(f"{path}.groups", "expected a list")
    slots: dict[Slot, tuple[Fold, ...]] = {}
    for at, group in enumerate(groups):
        where = f"{path}.groups[{at}]"
        if not isinstance(group, list) or len(group) != _COLUMNS:
            raise refused(where, "expected a list of key, start, end and values")
        key, start, end, values = group
        slot = Slot(0, 0, _key(key, key_size, f"{where}[0]"))
        if has_window:
            slot = Slot(_time(start, f"{where}[1]"), _time(end, f"{where}[2]"), slot.key)
        if slot in slots or slot.end < slot.start:
            raise refused(where, "is there twice, or ends before it begins")
        if not isinstance(values, list) or len(values) != len(empty):
            raise refused(f"{where}[3]", f"expected {len(empty)} values")
        slots[slot] = tuple(
            fold.resume(value, f"{where}[3][{number}]")
            for number, (fold, value) in enumerate(zip(empty, values, strict=True))
        )
    return Kept(slots, None if watermark is None else _time(watermark, f"{path}.watermark"))


def _key(kept: object, size: int, path: str) -> Key:
    if not isinstance(kept, list) or len(kept) != size:
        raise refused(path, f"expected a key of {size} values")
    try:
        return tuple(ranked(from_json(value)) for value in kept)
    except ValueError as error:
        raise refused(path, str(error)) from None


def _time(kept: object, path: str) -> int:
    """Microseconds, as a text: JSON would round those of the year 2255."""
    if isinstance(kept, str) and kept.removeprefix("-").isdecimal() and kept.isascii() and len(kept) <= 20:
        return int(kept)
    raise refused(path, "expected microseconds since 1970, as a text")
