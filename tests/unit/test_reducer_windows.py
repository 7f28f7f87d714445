"""Windows of event time against a model that takes one record after the other, in any chunks, as rows and as tables."""

from __future__ import annotations

import datetime
import itertools
import json
from dataclasses import dataclass, field
from datetime import UTC, timedelta

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onex.v1 import reducer_pb2
from onex_mesh.reducer.core.grouped import Grouped
from onex_mesh.reducer.core.registry import ReducerRegistry
from onex_mesh.reducer.core.rows import TableRows
from onex_mesh.reducer.core.times import EPOCH, text_of
from onex_mesh.reducer.reduction import Reductions
from onex_mesh.runtime.errors import StateConsistencyError, ValidationError
from onex_mesh.runtime.payload import from_payload, json_payload
from tests.aggregations import begin_grouped
from tests.unit.test_reducer_aggregation import ORIGIN, Revenue

SECOND = 1_000_000
TUMBLING, SLIDING, SESSION = 1, 2, 3
DROP, REFUSE, RETURN = 1, 2, 3


def config(
    kind: int, size: int, slide: int = 0, lateness: int = 0, offset: int = 0, late: int = 0, **fields: object
) -> reducer_pb2.ReductionConfig:
    """Count and sum by the key `k`, in windows of the time `t`; sizes in seconds."""
    made = reducer_pb2.ReductionConfig(group_by=("k",))
    made.aggregates.add(name="n", method=reducer_pb2.AGGREGATION_METHOD_COUNT)
    made.aggregates.add(name="sum", method=reducer_pb2.AGGREGATION_METHOD_SUM, field="v")
    window = made.window
    window.kind, window.time_field, window.late_data = kind, "t", late  # type: ignore[assignment]  # their numbers
    (window.gap if kind == SESSION else window.size).FromSeconds(size)
    if kind == SLIDING:
        window.slide.FromSeconds(slide)
    if lateness:
        window.allowed_lateness.FromSeconds(lateness)
    if offset:
        window.offset.FromSeconds(offset)
    return made


@dataclass
class Model:
    """What windows are, written down plainly: one record at a time, each window closed as soon as it can be."""

    kind: int
    size: int
    slide: int
    lateness: int
    offset: int
    watermark: float = float("-inf")
    open: dict[tuple[int, int, str], list[int]] = field(default_factory=dict)
    closed: list[tuple[tuple[int, int, str], list[int]]] = field(default_factory=list)
    late: list[tuple[str, int, int]] = field(default_factory=list)

    def add(self, key: str, time: int, value: int) -> None:
        if self.kind == SESSION:
            is_late = time < self.watermark
            if not is_late:
                start, end, values = time, time + self.size, [value]
                for slot in [s for s in self.open if s[2] == key and s[0] < end and start < s[1]]:
                    values = self.open.pop(slot) + values
                    start, end = min(start, slot[0]), max(end, slot[1])
                self.open[(start, end, key)] = values
        else:
            step = self.slide or self.size
            found = [
                (start, start + self.size, key)
                for start in range(self.offset - 200 * step, 400 * step, step)
                if start <= time < start + self.size and start + self.size > self.watermark
            ]
            is_late = not found
            for slot in found:
                self.open.setdefault(slot, []).append(value)
        if is_late:
            self.late.append((key, time, value))
        self.advance(max(self.watermark, time - self.lateness))

    def advance(self, watermark: float) -> None:
        self.watermark = max(self.watermark, watermark)
        for slot in sorted(slot for slot in self.open if slot[1] <= self.watermark):
            self.closed.append((slot, self.open.pop(slot)))

    def rows(self, *, final: bool) -> list[dict[str, object]]:
        entries = self.closed if final else list(self.open.items())
        return [
            {
                "window_start": text_of(start * SECOND),
                "window_end": text_of(end * SECOND),
                "k": key,
                "n": len(values),
                "sum": sum(values),
                "final": final,
            }
            for (start, end, key), values in sorted(entries)
        ]


records_of = st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 60), st.integers(-5, 5)), max_size=20)
cuts = st.lists(st.integers(0, 20), max_size=3)
shapes = st.one_of(
    st.tuples(st.just(TUMBLING), st.integers(1, 15), st.just(0), st.integers(0, 20), st.integers(-3, 20)),
    st.tuples(st.just(SLIDING), st.integers(4, 15), st.integers(1, 4), st.integers(0, 20), st.integers(-3, 20)),
    st.tuples(st.just(SESSION), st.integers(1, 15), st.just(0), st.integers(0, 20), st.just(0)),
)


def plain(records: list[tuple[str, int, int]]) -> list[object]:
    return [{"k": key, "t": text_of(time * SECOND), "v": value} for key, time, value in records]


def table(records: list[tuple[str, int, int]]) -> TableRows:
    times = [EPOCH + timedelta(seconds=time) for _, time, _ in records]
    columns = {
        "k": pa.array([key for key, _, _ in records], pa.string()),
        "t": pa.array(times, pa.timestamp("ms", "Europe/Berlin")),
        "v": pa.array([value for _, _, value in records], pa.int64()),
    }
    return TableRows(pa.table(columns))


def run(made: reducer_pb2.ReductionConfig, records: list[object] | TableRows, at: list[int]) -> Grouped:
    """The records in chunks, each from the state of the one before; what was closed and late is gathered."""
    bounds = [0, *sorted(min(cut, len(records)) for cut in at), len(records)]
    grouped, closed, late = begin_grouped(made), (), 0
    for start, end in itertools.pairwise(bounds):
        grouped = begin_grouped(made, json.loads(json.dumps(grouped.state()))).add(records[start:end], start)
        closed, late = closed + grouped.closed, late + grouped.late_count
    assert begin_grouped(made, grouped.state()).result() == [row for row in rows(grouped) if not row["final"]]
    return Grouped(grouped.shape, grouped.slots, grouped.watermark, closed, (), late)


def rows(grouped: Grouped) -> list[dict[str, object]]:
    found = grouped.result()
    assert isinstance(found, list)
    return found


def by_window(found: list[dict[str, object]]) -> list[dict[str, object]]:
    return sorted(found, key=lambda row: (str(row["window_start"]), str(row["window_end"]), str(row["k"])))


@given(shapes, records_of, cuts)
def test_windows_are_what_the_model_says(
    shape: tuple[int, int, int, int, int], records: list[tuple[str, int, int]], at: list[int]
) -> None:
    """R49, R50: tumbling, sliding and session windows with late records, in any chunks, as rows and as tables."""
    kind, size, slide, lateness, offset = shape
    made = config(kind, size, slide, lateness, offset)
    model = Model(kind, size, slide, lateness, offset)
    for record in records:
        model.add(*record)
    for source in (plain(records), table(records)):
        grouped = run(made, source, at)
        found = rows(grouped)
        assert by_window([row for row in found if row["final"]]) == by_window(model.rows(final=True))
        assert [row for row in found if not row["final"]] == model.rows(final=False)
        assert grouped.late_count == len(model.late)


@given(shapes, records_of, st.integers(0, 80))
def test_a_watermark_closes_what_ends_by_then(
    shape: tuple[int, int, int, int, int], records: list[tuple[str, int, int]], watermark: int
) -> None:
    """R50: a source that knows that nothing older comes says so, and records before it are late from then on."""
    kind, size, slide, lateness, offset = shape
    model = Model(kind, size, slide, lateness, offset)
    half = len(records) // 2
    for record in records[:half]:
        model.add(*record)
    model.advance(watermark)
    for record in records[half:]:
        model.add(*record)
    grouped = begin_grouped(config(kind, size, slide, lateness, offset)).add(plain(records)[:half], 0)
    grouped = grouped.advanced(watermark * SECOND).add(table(records)[half:], half)
    assert by_window([row for row in rows(grouped) if row["final"]]) == by_window(model.rows(final=True))
    assert [row for row in rows(grouped) if not row["final"]] == model.rows(final=False)
    assert grouped.late_count == len(model.late)


@pytest.mark.parametrize(("second", "sessions"), [(9, 1), (10, 2), (11, 2)])
def test_records_as_far_apart_as_the_gap_are_two_sessions(second: int, sessions: int) -> None:
    """R50: in one batch and in two, as rows and as tables; a record between two sessions makes them one."""
    records = [("a", 0, 1), ("a", second, 2)]
    made = config(SESSION, 10, lateness=60)
    for source in (plain(records), table(records)):
        for at in ([], [1]):
            found = rows(run(made, source, at))
            assert len(found) == sessions
            assert found[-1]["window_end"] == text_of((second + 10) * SECOND)
    for source in (plain([*records, ("a", 5, 3)]), table([*records, ("a", 5, 3)])):
        assert [row["n"] for row in rows(run(made, source, [2]))] == [3]


def test_late_records_are_dropped_refused_or_returned() -> None:
    """R50: as the window says; a count in any case."""
    records = plain([("a", 50, 1), ("a", 3, 2), ("b", 4, 3)])
    dropped = begin_grouped(config(TUMBLING, 10, late=DROP)).add(records, 0)
    assert (dropped.late_count, dropped.late) == (2, ())
    returned = begin_grouped(config(TUMBLING, 10, late=RETURN)).add(records, 0)
    assert (returned.late_count, list(returned.late)) == (2, records[1:])
    of_table = begin_grouped(config(TUMBLING, 10, late=RETURN)).add(table([("a", 50, 1), ("a", 3, 2)]), 0)
    assert [(row["k"], row["v"]) for row in of_table.late] == [("a", 2)]  # type: ignore[index]  # a row
    with pytest.raises(ValidationError, match=r"input_data\[8\]\.t: is late: .* 2 records are") as caught:
        begin_grouped(config(TUMBLING, 10, late=REFUSE)).add(records, 7)
    assert [path for path, _ in caught.value.violations] == ["input_data[8].t", "input_data[9].t"]


def test_what_is_closed_is_given_away_once() -> None:
    """R50: it is neither in the state nor in what comes later."""
    grouped = begin_grouped(config(TUMBLING, 10)).add(plain([("a", 1, 1), ("a", 25, 2)]), 0)
    assert [(row["window_start"], row["final"]) for row in rows(grouped)] == [
        ("1970-01-01T00:00:00Z", True),
        ("1970-01-01T00:00:20Z", False),
    ]
    later = grouped.released().add(plain([("a", 26, 3)]), 2)
    assert [(row["window_start"], row["n"]) for row in rows(later)] == [("1970-01-01T00:00:20Z", 2)]
    again = begin_grouped(config(TUMBLING, 10), grouped.state()).add(plain([("a", 2, 9)]), 2)
    assert again.late_count == 1


def test_times_are_read_from_text_numbers_and_columns() -> None:
    """R49: RFC 3339, seconds since 1970, and the times of Arrow; before 1970 too."""
    made = config(TUMBLING, 10)
    for value in ("1969-12-31T23:59:55Z", "1970-01-01T00:59:55.5+01:00", -5, -4.25):
        found = rows(begin_grouped(made).add([{"k": "a", "t": value, "v": 1}], 0))
        assert [row["window_start"] for row in found] == ["1969-12-31T23:59:50Z"]
    moment = datetime.datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
    columns = (
        pa.array([moment], pa.timestamp("ns", "UTC")),
        pa.array([moment.replace(tzinfo=None)], pa.timestamp("us")),
        pa.array([int(moment.timestamp())], pa.int32()),
        pa.array([moment.timestamp()], pa.float64()),
        pa.array([moment.isoformat()], pa.string()),
        pa.array([moment.isoformat()], pa.string()).dictionary_encode(),
    )
    for column in columns:
        found = rows(begin_grouped(made).add(TableRows(pa.table({"k": ["a"], "t": column, "v": [1]})), 0))
        assert [row["window_start"] for row in found] == ["2026-03-04T05:06:00Z"], column.type
    for kind in (pa.date32(), pa.date64()):
        days = pa.table({"k": ["a"], "t": pa.array([moment.date()], kind), "v": [1]})
        found = rows(begin_grouped(made).add(TableRows(days), 0))
        assert [row["window_start"] for row in found] == ["2026-03-04T00:00:00Z"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("yesterday", r"input_data\[3\]\.t: expected a time such as 2026-03-04T05:06:07Z, found 'yesterday'"),
        ("2026-03-04T05:06:07", r"input_data\[3\]\.t: the time 2026-03-04T05:06:07 has no offset from UTC"),
        (None, r"input_data\[3\]\.t: expected a time, found null"),
        (True, r"input_data\[3\]\.t: expected a time, found boolean"),
        ({}, r"input_data\[3\]\.t: expected a time, found object"),
        (1_770_000_000_000, r"input_data\[3\]\.t: 1770000000000 seconds are outside .* are they milliseconds\?"),
        (1e18, r"input_data\[3\]\.t: 1e\+18 seconds are outside"),
    ],
)
def test_what_is_no_time_is_refused_with_its_path(value: object, message: str) -> None:
    """R37: in rows, and in tables where a column can hold it."""
    with pytest.raises(ValidationError, match=message):
        begin_grouped(config(TUMBLING, 10)).add([{"k": "a", "t": value, "v": 1}], 3)
    if not isinstance(value, dict):
        with pytest.raises(ValidationError, match=message):
            begin_grouped(config(TUMBLING, 10)).add(TableRows(pa.table({"k": ["a"], "t": [value], "v": [1]})), 3)


def test_a_missing_time_is_refused() -> None:
    """R36: in rows and in tables."""
    for records in ([{"k": "a", "v": 1}], TableRows(pa.table({"k": ["a"], "v": [1]}))):
        with pytest.raises(ValidationError, match=r"input_data\[0\]\.t: is required and missing"):
            begin_grouped(config(TUMBLING, 10)).add(records, 0)  # type: ignore[arg-type]  # records
    with pytest.raises(ValidationError, match=r"input_data\[0\]: expected an object"):
        begin_grouped(_without_fields()).add([5], 0)


def _without_fields() -> reducer_pb2.ReductionConfig:
    made = reducer_pb2.ReductionConfig(aggregation_method=reducer_pb2.AGGREGATION_METHOD_COUNT)
    made.window.CopyFrom(config(TUMBLING, 10).window)
    return made


def test_windows_reach_beyond_the_times_that_can_be_written() -> None:
    """R49: at the end of time, which systems use for "never", nothing overflows."""
    found = rows(begin_grouped(config(TUMBLING, 3600)).add([{"k": "a", "t": "9999-12-31T23:59:59Z", "v": 1}], 0))
    assert found[0]["window_start"] == "9999-12-31T23:00:00Z"
    assert str(found[0]["window_end"]).startswith("9999-12-31T23:59:59")


def wrong(**fields: int | str) -> reducer_pb2.ReductionConfig:
    """A tumbling window with other fields; durations in milliseconds."""
    made = config(TUMBLING, 10)
    for name, value in fields.items():
        if name in ("size", "slide", "gap", "offset", "allowed_lateness"):
            made.window.ClearField(name)  # type: ignore[arg-type]  # its name
            if value != "":
                getattr(made.window, name).FromMicroseconds(int(value))
        else:
            setattr(made.window, name, value)
    return made


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (wrong(kind=0), r"window\.kind: must be TUMBLING, SLIDING or SESSION, not 0"),
        (wrong(kind=9), r"window\.kind: must be TUMBLING, SLIDING or SESSION, not 9"),
        (wrong(time_field=""), r"window\.time_field: is required and missing"),
        (wrong(late_data=9), r"window\.late_data: 9 is none of DROP, REFUSE and RETURN"),
        (wrong(size=""), r"window\.size: is required and missing for windows of the kind TUMBLING"),
        (wrong(slide=SECOND), r"window\.slide: has no meaning for windows of the kind TUMBLING"),
        (wrong(gap=SECOND), r"window\.gap: has no meaning for windows of the kind TUMBLING"),
        (wrong(size=999), r"window\.size: must be between 1 ms and 100 years"),
        (wrong(size=-SECOND), r"window\.size: must be between 1 ms and 100 years"),
        (wrong(kind=SLIDING, slide=11 * SECOND), r"window\.slide: must be at most the size"),
        (wrong(kind=SLIDING, slide=1_000), r"window\.slide: must be at most the size, and at least a 1,000th"),
        (wrong(kind=SESSION, size="", gap=SECOND, offset=1), r"window\.offset: has no meaning .* SESSION"),
        (wrong(allowed_lateness=-1), r"window\.allowed_lateness: must be between 0 and 100 years"),
        (wrong(offset=10**17), r"window\.offset: must be within 100 years"),
    ],
)
def test_windows_that_make_no_sense_are_refused(made: reducer_pb2.ReductionConfig, message: str) -> None:
    """R54: with the path of what is wrong."""
    with pytest.raises(ValidationError, match=message):
        begin_grouped(made)


def test_windows_of_part_of_a_microsecond_are_refused() -> None:
    """R54: they would be rounded."""
    made = config(TUMBLING, 10)
    made.window.size.nanos = 1
    with pytest.raises(ValidationError, match=r"window\.size: must be whole microseconds"):
        begin_grouped(made)


def test_names_of_the_window_are_no_names_of_aggregates_or_keys() -> None:
    """R54: a row has each once."""
    made = config(TUMBLING, 10)
    made.aggregates[0].name = "final"
    with pytest.raises(ValidationError, match="the name 'final' is that of a key or of the window"):
        begin_grouped(made)
    made = config(TUMBLING, 10)
    made.group_by[0] = "window_end"
    with pytest.raises(
        ValidationError, match=r"group_by\[0\]: 'window_end' is there twice, or is a name of the window"
    ):
        begin_grouped(made)


def test_sessions_need_aggregators_that_merge() -> None:
    """R54: two sessions become one when a record comes between them."""
    aggregator = ReducerRegistry().add_class(Revenue)
    made = config(SESSION, 10)
    made.aggregates[0].method, made.aggregates[0].reducer = reducer_pb2.AGGREGATION_METHOD_CUSTOM, "revenue"
    with pytest.raises(ValidationError, match=r"aggregates\[0\]: sessions grow together: .* declare `merge`"):
        begin_grouped(made, None, aggregator)  # type: ignore[arg-type]  # an aggregator


def test_a_state_of_other_windows_is_refused() -> None:
    """R67: their sums would not be comparable. How late records may be is free to change."""
    state = begin_grouped(config(TUMBLING, 10)).add(plain([("a", 1, 1)]), 0).state()
    with pytest.raises(StateConsistencyError, match=r"current_state\.of: the state is one of"):
        begin_grouped(config(TUMBLING, 20), state)
    assert rows(begin_grouped(config(TUMBLING, 10, lateness=5), state))[0]["n"] == 1


REDUCTIONS = Reductions(ReducerRegistry(), development=True)


async def test_a_reduction_in_windows_tells_what_was_late_and_what_is_final() -> None:
    """R50, R64: over the contract, with a watermark that closes the rest."""
    contract = reducer_pb2.ReducerContract(reduction_config=config(TUMBLING, 10, late=RETURN))
    records = plain([("a", 1, 1), ("a", 25, 2), ("a", 2, 3)])
    contract.input_data.CopyFrom(json_payload(records))
    first = await REDUCTIONS.reduce(contract, ORIGIN)
    metrics = first.reduction_metrics
    assert (metrics.late_records, metrics.rows, metrics.records_processed) == (1, 2, 3)
    assert from_payload(first.late_data) == [records[2]]
    contract.input_data.CopyFrom(json_payload([]))
    contract.current_state.CopyFrom(first.state)
    contract.watermark.FromSeconds(30)
    second = await REDUCTIONS.reduce(contract, ORIGIN)
    found = from_payload(second.aggregated_data)
    assert [(row["window_start"], row["final"]) for row in found] == [  # type: ignore[index, union-attr, call-overload]  # rows
        ("1970-01-01T00:00:20Z", True)
    ]
    contract.reduction_config.ClearField("window")
    contract.ClearField("current_state")
    with pytest.raises(ValidationError, match="watermark: is for reductions with a window"):
        await REDUCTIONS.reduce(contract, ORIGIN)
