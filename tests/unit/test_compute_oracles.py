"""Every built-in algorithm against pandas, pyarrow or statistics: on real orders, and on data of awkward kinds.

What is compared with plain Python on random data is in `test_compute_tabular`, chunks are in `test_compute_chunked`.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from decimal import Decimal
from fractions import Fraction
from random import Random
from typing import cast

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from jsonschema import Draft202012Validator

from tests.unit.test_compute_tabular import SAMPLE, Rows, compute, needs_sample, rows_of

SCHEMA = pa.schema([("k", pa.string()), ("n", pa.int64()), ("x", pa.float64()), ("d", pa.decimal128(20, 2))])


def _rows(seed: int, count: int, *, null_share: float = 0.2, nans: bool = True) -> Rows:
    drawn = Random(seed)

    def some(make: Callable[[], object]) -> object:
        return None if drawn.random() < null_share else make()

    return [
        {
            "k": some(lambda: drawn.choice("abcdé")),
            "n": some(lambda: drawn.choice((drawn.randint(-9, 9), drawn.randint(-(2**63), 2**63 - 1)))),
            "x": some(lambda: math.nan if nans and drawn.random() < 0.1 else drawn.gauss(0, 1e6)),
            "d": some(lambda: Decimal(drawn.randint(-(10**12), 10**12)).scaleb(-2)),
        }
        for _ in range(count)
    ]


DATA: dict[str, Rows] = {
    "empty": [],
    "one row": [{"k": "a", "n": 2**63 - 1, "x": -0.0, "d": Decimal("0.10")}],
    "a row of nulls": [{"k": None, "n": None, "x": None, "d": None}],
    "nothing but nulls and NaN": [{"k": None, "n": None, "x": x, "d": None} for x in (math.nan, None, math.nan)],
    "huge integers": [{"k": "a", "n": n, "x": 1.0, "d": None} for n in (2**63 - 1, 2**63 - 1, -(2**63), 2**53 + 1)],
    "many": _rows(1, 500),
    "many without nulls": _rows(2, 500, null_share=0, nans=False),
}
EACH = pytest.mark.parametrize("rows", DATA.values(), ids=DATA.keys())


def table(rows: Rows) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def known(rows: Rows, name: str) -> list[object]:
    """The values that are neither null nor NaN."""
    return [row[name] for row in rows if row[name] is not None and row[name] == row[name]]


def same(found: object, expected: Rows) -> None:
    assert isinstance(found, pa.Table)
    assert repr(found.to_pylist()) == repr(expected)


@EACH
def test_rows_are_chosen_and_fields_computed(rows: Rows) -> None:
    """R26: filter, project and map against pyarrow."""
    data = table(rows)
    kept = compute("filter", data, where="row.n != null && row.n > 0 || row.k == 'a'")
    mask = pc.or_(pc.fill_null(pc.greater(data["n"], 0), False), pc.fill_null(pc.equal(data["k"], "a"), False))
    assert repr(rows_of(kept)) == repr(data.filter(mask).to_pylist())
    same(compute("project", data, fields=["d", "k"]), data.select(["d", "k"]).to_pylist())
    fields = {
        "d": "row.d",
        "up": "row.k == null ? '' : row.k.upperAscii()",
        "y": "row.x == null ? 0.0 : row.x * 2.0 - 1.0",
    }
    expected = pa.table(
        {
            "d": data["d"],
            "up": pc.fill_null(pc.ascii_upper(data["k"]), ""),
            "y": pc.if_else(pc.is_null(data["x"]), 0.0, pc.subtract(pc.multiply(data["x"], 2.0), 1.0)),
        }
    )
    same(compute("map", data, fields=fields), expected.to_pylist())


@EACH
@pytest.mark.parametrize("field", ["k", "n", "x", "d"])
@pytest.mark.parametrize("descending", [False, True])
def test_rows_are_sorted(rows: Rows, field: str, descending: bool) -> None:
    """R26: against Python's stable sort; NaN after the numbers, nulls after NaN."""

    def rank(row: dict[str, object]) -> int:
        value = row[field]
        return 2 if value is None else 1 if value != value else 0

    numbers = [row for row in rows if rank(row) == 0]
    numbers.sort(key=lambda row: cast("int", row[field]), reverse=descending)
    expected = numbers + [row for row in rows if rank(row) == 1] + [row for row in rows if rank(row) == 2]
    same(compute("sort", table(rows), keys=[{"field": field, "descending": descending}]), expected)


@EACH
@pytest.mark.parametrize("keep", ["first", "last"])
def test_duplicates_go(rows: Rows, keep: str) -> None:
    """R26: against pandas."""
    frame = pd.DataFrame({name: pd.Series([row[name] for row in rows], dtype=object) for name in ("k", "n")})
    kept = [rows[index] for index in frame.drop_duplicates(["k", "n"], keep=keep).index]  # type: ignore[call-overload]
    same(compute("deduplicate", table(rows), keys=["k", "n"], keep=keep), kept)


def _exact_mean(values: Sequence[object]) -> float | None:
    return float(sum(Fraction(cast("int", value)) for value in values) / len(values)) if values else None


@EACH
def test_groups_have_exact_sums_and_means(rows: Rows) -> None:
    """R26, F37: of integers beyond 64 bits and of decimals, against fractions; moments against statistics."""
    asked = {
        "n": {"function": "sum", "field": "n"},
        "n_mean": {"function": "mean", "field": "n"},
        "d": {"function": "sum", "field": "d"},
        "d_mean": {"function": "mean", "field": "d"},
        "d_least": {"function": "min", "field": "d"},
        "d_kinds": {"function": "count_distinct", "field": "d"},
    }
    found = rows_of(compute("group_by", table(rows), keys=["k"], aggregates=asked))
    assert [group["k"] for group in found] == list(dict.fromkeys(row["k"] for row in rows))
    for group in found:
        members = [row for row in rows if row["k"] == group["k"]]
        wholes, decimals = known(members, "n"), known(members, "d")
        assert group["n"] == (sum(cast("list[int]", wholes)) if wholes else None)
        assert group["n_mean"] == _exact_mean(wholes)
        assert group["d"] == (sum(cast("list[Decimal]", decimals)) if decimals else None)
        assert group["d_mean"] == _exact_mean(decimals)
        assert group["d_least"] == min(cast("list[Decimal]", decimals), default=None)
        assert group["d_kinds"] == len(set(decimals))


@EACH
def test_columns_are_described(rows: Rows) -> None:
    """R26: against statistics and pyarrow; NaN and null are counted and left out."""
    found = cast("dict[str, dict[str, object]]", compute("describe", table(rows)))
    assert list(found) == ["n", "x", "d"]
    for name, facts in found.items():
        values = cast("list[float]", known(rows, name))
        assert facts["count"] == len(values)
        assert facts["nulls"] == sum(row[name] is None for row in rows)
        assert facts["nan"] == len(rows) - len(values) - cast("int", facts["nulls"])
        assert (facts["min"], facts["max"]) == (min(values, default=None), max(values, default=None))
        if values:
            assert facts["mean"] == pytest.approx(_exact_mean(values), rel=1e-12)
        spread = statistics.stdev([Fraction(value) for value in values]) if len(values) > 1 else None
        assert facts["std"] == (None if spread is None else pytest.approx(float(spread), rel=1e-9))
        quantiles = cast("dict[str, object]", facts["quantiles"])
        floats = pa.array([float(value) for value in values], pa.float64())
        assert [*quantiles.values()] == pc.quantile(floats, [0.25, 0.5, 0.75]).to_pylist()


@EACH
def test_columns_are_normalised(rows: Rows) -> None:
    """R26: against pandas; nulls and NaN stay."""
    data = table(rows)
    column = pd.Series(cast("list[float]", known(rows, "x")), dtype=float)
    for method in ("min_max", "z_score"):
        found = [row["x"] for row in rows_of(compute("normalise", data, fields=["x"], method=method))]
        if column.nunique() > 1:
            low = column.min() if method == "min_max" else column.mean()
            width = column.max() - column.min() if method == "min_max" else column.std()
            expected = ((column - low) / width).tolist()
        else:
            expected = [0.0] * len(column)
        assert [x for x in found if x is not None and not math.isnan(cast("float", x))] == pytest.approx(expected)
        assert [x is None for x in found] == [row["x"] is None for row in rows]


@EACH
def test_rows_are_validated(rows: Rows) -> None:
    """F21: against jsonschema, row by row."""
    schema = {"properties": {"k": {"enum": ["a", "b"]}, "n": {"type": "integer"}, "x": {"type": ["number", "null"]}}}
    result = cast("dict[str, object]", compute("validate", table(rows), schema=schema, violations="result", bound=1000))
    validator = Draft202012Validator(schema)
    expected = [
        {"path": f"input_data[{index}].{error.absolute_path[0]}", "message": error.message}
        for index, row in enumerate(rows)
        for error in validator.iter_errors(row)  # type: ignore[arg-type]  # JSON
    ]
    assert result == {"valid": not expected, "violations": expected}


@EACH
@pytest.mark.parametrize("kind", ["inner", "left", "right", "outer"])
def test_tables_are_joined(rows: Rows, kind: str) -> None:
    """R26: against pandas, which takes null for equal to null: so the right side has none."""
    right: Rows = [{"k": key, "name": f"<{key}>", "x": at} for at, key in enumerate("abbz")]
    found = rows_of(compute("join", table(rows), on=["k"], kind=kind, right=right))
    left = pd.DataFrame({"k": pd.Series([row["k"] for row in rows], dtype=object), "at": range(len(rows))})
    joined = left.merge(pd.DataFrame(right), on="k", how=kind)  # type: ignore[arg-type]  # one of the four
    pairs = [
        (None if pd.isna(at) else rows[int(at)]["n"], None if pd.isna(name) else name, None if pd.isna(key) else key)
        for at, name, key in zip(joined["at"], joined["name"], joined["k"], strict=True)
    ]
    assert sorted(map(repr, ((row["n"], row["name"], row["k"]) for row in found))) == sorted(map(repr, pairs))
    assert all("x_right" in row for row in found)


@EACH
def test_numbers_are_summed_and_described(rows: Rows) -> None:
    """R45: sum and statistics of integers of any size and of floats, against the standard library."""
    wholes = cast("list[int]", known(rows, "n"))
    assert compute("sum", wholes) == sum(wholes)
    floats = cast("list[float]", known(rows, "x"))
    assert compute("sum", [{"x": value} for value in floats], field="x") == math.fsum(floats)
    told = cast("dict[str, object]", compute("statistics", floats))
    assert told["count"] == len(floats)
    if len(floats) > 1:
        assert told["variance"] == pytest.approx(statistics.variance(floats))
        assert told["quantiles"]["0.25"] == pytest.approx(  # type: ignore[index]  # a mapping
            statistics.quantiles(floats, n=4, method="inclusive")[0]
        )
    assert compute("identity", rows) == rows


# Real orders


@pytest.fixture(scope="module")
def orders() -> pd.DataFrame:
    return pd.read_csv(SAMPLE, encoding="latin-1").head(20_000).reset_index(names="at")


def as_table(frame: pd.DataFrame) -> pa.Table:
    return pa.Table.from_pandas(frame, preserve_index=False)


def places(found: object) -> list[object]:
    return [row["at"] for row in rows_of(found)]


@needs_sample
def test_real_orders_are_filtered_and_sorted_as_pandas_does(orders: pd.DataFrame) -> None:
    """R26: by several conditions and by several keys, stable."""
    data = as_table(orders)
    kept = compute("filter", data, where="row.Quantity > 10 && !(row.Country in ['United Kingdom', 'EIRE'])")
    mask = (orders["Quantity"] > 10) & ~orders["Country"].isin(["United Kingdom", "EIRE"])
    assert places(kept) == orders[mask]["at"].tolist()
    keys = [{"field": "Country"}, {"field": "UnitPrice", "descending": True}]
    by_pandas = orders.sort_values(["Country", "UnitPrice"], ascending=[True, False], kind="stable")
    assert places(compute("sort", data, keys=keys)) == by_pandas["at"].tolist()


@needs_sample
def test_real_orders_are_mapped_and_deduplicated_as_pandas_does(orders: pd.DataFrame) -> None:
    """R26: of a table and of its rows."""
    data = as_table(orders)
    fields = {"at": "row.at", "total": "row.Quantity * row.UnitPrice", "big": "row.Quantity >= 100"}
    oracle = pd.DataFrame(
        {
            "at": orders["at"],
            "total": orders["Quantity"] * orders["UnitPrice"],
            "big": orders["Quantity"] >= 100,
        }
    ).to_dict("records")
    columns = ["at", "StockCode", "Quantity", "UnitPrice"]
    for given in (data, data.select(columns).to_pylist()):
        assert rows_of(compute("map", given, fields=fields)) == oracle
    kept = orders.drop_duplicates(["Country", "StockCode"])["at"].tolist()
    assert places(compute("deduplicate", data, keys=["Country", "StockCode"])) == kept


@needs_sample
def test_real_orders_are_joined_and_normalised_as_pandas_does(orders: pd.DataFrame) -> None:
    """R26: with a table of countries."""
    data = as_table(orders)
    countries = orders.groupby("Country", sort=True).size().reset_index(name="lines").head(10)
    right = cast("Rows", countries.to_dict("records"))
    for kind in ("inner", "left"):
        found = rows_of(compute("join", data, on=["Country"], kind=kind, right=right))
        oracle = orders.merge(countries, on="Country", how=kind)  # type: ignore[arg-type]  # one of the two
        lines = [None if pd.isna(count) else int(count) for count in oracle["lines"]]
        assert [(row["at"], row["lines"]) for row in found] == list(zip(oracle["at"], lines, strict=True))
    price = orders["UnitPrice"]
    scaled = [row["UnitPrice"] for row in rows_of(compute("normalise", data, fields=["UnitPrice"]))]
    assert scaled == pytest.approx(((price - price.min()) / (price.max() - price.min())).tolist())
