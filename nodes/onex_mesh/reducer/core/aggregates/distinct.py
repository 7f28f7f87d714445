"""How many different values there are, in bounded memory.

While there are few, their hashes are kept, and the count is exact. Then they become the registers of a HyperLogLog,
which Apache DataSketches keeps (Flajolet et al. 2007, with an estimator of the registers alone). Neither depends on the
order or the grouping of the records: after each batch the sketch is brought into the one form that its registers have
(docs/adr/0008-aggregates.md).
"""

from __future__ import annotations

import base64
import binascii
import importlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from types import ModuleType
from typing import TYPE_CHECKING, Protocol, cast

from onex_mesh.reducer.core.aggregates.fold import Fold, Groups
from onex_mesh.reducer.core.aggregates.states import fields_of, refused
from onex_mesh.reducer.core.hashes import HASH_BYTES, hash_of
from onex_mesh.reducer.core.records import scalars_of
from onex_mesh.reducer.core.scalars import Scalar, ranked
from onex_mesh.runtime.errors import ValidationError

if TYPE_CHECKING:
    from onex_mesh.reducer.core.value_columns import ValueColumn

PRECISION_MIN, PRECISION_MAX = 4, 14
_FIELDS = {"precision", "hashes", "sketch"}


class _Sketch(Protocol):
    """What is used of datasketches.hll_sketch, which ships no types."""

    lg_config_k: int

    def update(self, value: int) -> None: ...
    def get_estimate(self) -> float: ...
    def serialize_compact(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Distinct(Fold):
    """The number of different values; null and what is missing do not count.

    Attributes:
        precision: Binary logarithm of the number of registers.
        field: Field of the records; empty if they are values.
        hashes: Hashes of the values, while they are few.
        sketch: The registers, as the sketch is serialised; empty before.
    """

    precision: int
    field: str = ""
    hashes: frozenset[int] = frozenset()
    sketch: bytes = b""

    def read(self, records: Sequence[object], offset: int) -> Sequence[object]:
        """See `Fold.read`."""
        return scalars_of(records, self.field, offset)

    def take(self, values: Sequence[object]) -> Distinct:
        """See `Fold.take`."""
        if isinstance(values, list):
            return self._with(_hashes(cast("list[Scalar]", values)))
        return self._with(cast("ValueColumn", values).hashes())

    def by_group(self, values: Sequence[object], groups: Groups) -> list[Distinct]:
        """See `Fold.by_group`."""
        if isinstance(values, list):
            return Fold.by_group(self, values, groups)
        counts = cast("ValueColumn", values).counts_by_group(groups)
        return [self._with([hash_of(value) for value, _ in part]) for part in counts]

    def merge(self, other: Distinct) -> Distinct:
        """See `Fold.merge`."""
        return self._with(other.hashes, other.sketch)

    def resume(self, state: object, path: str) -> Distinct:
        """See `Fold.resume`."""
        text = "a distinct count continues from its state {precision, hashes, sketch}, not from the number alone"
        fields = fields_of(state, _FIELDS, path, text)
        if fields["precision"] != self.precision:
            raise refused(f"{path}.precision", f"another one was asked for: {self.precision}")
        hashes, sketch = (_bytes(fields[name], f"{path}.{name}") for name in ("hashes", "sketch"))
        if len(hashes) % HASH_BYTES or (hashes and sketch) or len(hashes) > self._kept_max() * HASH_BYTES:
            raise refused(f"{path}.hashes", "expected hashes of 8 bytes, as many as are kept, or a sketch")
        if sketch and _read(sketch, path).lg_config_k != self.precision:
            raise refused(f"{path}.sketch", "has another precision")
        kept = range(0, len(hashes), HASH_BYTES)
        return replace(
            self,
            hashes=frozenset(int.from_bytes(hashes[at : at + HASH_BYTES]) for at in kept),
            sketch=sketch,
        )

    def result(self) -> object:
        """The count; exact as long as hashes are kept."""
        return round(_read(self.sketch, "").get_estimate()) if self.sketch else len(self.hashes)

    def state(self) -> object:
        """See `Fold.state`."""
        hashes = b"".join(value.to_bytes(HASH_BYTES) for value in sorted(self.hashes))
        kept = {"hashes": base64.b64encode(hashes).decode(), "sketch": base64.b64encode(self.sketch).decode()}
        return {"precision": self.precision, **kept}

    def _kept_max(self) -> int:
        # Beyond that, DataSketches has registers too and no longer a set of its own.
        return max(16, 1 << (self.precision - 2))

    def _with(self, hashes: Collection[int], sketch: bytes = b"") -> Distinct:
        if not self.sketch and not sketch and len(hashes) <= self._kept_max():
            kept = self.hashes.union(hashes)
            if len(kept) <= self._kept_max():
                return Distinct(self.precision, self.field, kept)
        united = _united(self.precision, chain(hashes, self.hashes), self.sketch, sketch)
        return Distinct(self.precision, self.field, frozenset(), united)


def _hashes(values: Sequence[Scalar]) -> list[int]:
    # By type too: true and 1 are equal in Python.
    return [
        hash_of(value) for value in dict(zip(map(ranked, values), values, strict=True)).values() if value is not None
    ]


def _united(precision: int, hashes: Iterable[int], *sketches: bytes) -> bytes:
    """The sketch of all of them, in the form that depends on its registers alone.

    A union of two sketches that both have registers gives up what DataSketches remembers of the order of updates, so
    the sketch is united with itself.
    """
    datasketches = _datasketches()
    kind = datasketches.tgt_hll_type.HLL_8
    fresh = datasketches.hll_sketch(precision, kind)
    for value in hashes:
        fresh.update(value)
    union = datasketches.hll_union(precision)
    for sketch in (fresh, *(_read(kept, "") for kept in sketches if kept)):
        union.update(sketch)
    united = union.get_result(kind)
    again = datasketches.hll_union(precision)
    again.update(united)
    again.update(united)
    data: bytes = again.get_result(kind).serialize_compact()
    return bytes(data)


def _read(sketch: bytes, path: str) -> _Sketch:
    try:
        read: _Sketch = _datasketches().hll_sketch.deserialize(sketch)
    except (ValueError, RuntimeError, IndexError) as error:
        raise refused(f"{path}.sketch", "is no HyperLogLog sketch") from error
    return read


def _bytes(text: object, path: str) -> bytes:
    try:
        return base64.b64decode(text if isinstance(text, str) else "?", validate=True)
    except binascii.Error:
        raise refused(path, "expected bytes in base64") from None


def _datasketches() -> ModuleType:
    try:
        return importlib.import_module("datasketches")
    except ImportError as error:
        raise ValidationError("many distinct values need the extra: pip install 'onex-mesh[sketches]'") from error
