"""Expressions over all rows at once: the same as CEL gives row by row, failures and types included."""

from __future__ import annotations

import math
from typing import cast

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from onex_mesh.compute.core.context import ComputeContext
from onex_mesh.compute.core.expressions import Cells, Evaluation, RowExpression, RowFailedError
from onex_mesh.runtime.cel_syntax import Call, Constant, ListOf, Selection, Unread, Variable, fields_of, syntax_of
from onex_mesh.runtime.errors import ValidationError

Rows = list[dict[str, object]]

wholes = st.integers(-3, 3) | st.sampled_from([2**53 + 1, -(2**53) - 1, 2**62, 2**63 - 1, -(2**63)])
reals = st.sampled_from([0.0, -0.0, 1.0, -2.5, 0.1, 2.0**53, 1e300, math.inf, -math.inf, math.nan, 9.3e18])
texts = st.sampled_from(["", "a", "A", "ab", "bé", "É", "1", "a\nb", "a.b", "😀", "a\0b"])
values = st.none() | wholes | reals | texts | st.booleans()

constants = st.sampled_from(
    ["null", "true", "false", "0", "1", "-2", "3", "9223372036854775807", "0.0", "1.0", "-2.5", "1e300", "'a'", "'É'"]
) | st.sampled_from(["''", "'1'", '"a.b"'])
fields = st.sampled_from(["row.n", "row.x", "row.t", "row.b", "row.any", "row['n']", "row.gone"])


def _grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    operators = st.sampled_from(["+", "-", "*", "/", "%", "<", "<=", ">", ">=", "==", "!=", "&&", "||"])
    functions = st.sampled_from(["int", "double", "string", "size", "dyn", "-", "!"])
    searches = st.sampled_from(["contains", "startsWith", "endsWith", "matches"])
    patterns = st.sampled_from(["''", "'a'", "'.'", "'^a.b$'", "'('", "'É'"])
    return st.one_of(
        st.tuples(inner, operators, inner).map(lambda parts: f"({' '.join(parts)})"),
        st.tuples(functions, inner).map(lambda parts: f"{parts[0]}({parts[1]})"),
        st.tuples(inner, inner, inner).map(lambda parts: f"({parts[0]} ? dyn({parts[1]}) : dyn({parts[2]}))"),
        st.tuples(inner, st.lists(constants.map(lambda one: f"dyn({one})"), max_size=3)).map(
            lambda parts: f"(dyn({parts[0]}) in [{', '.join(parts[1])}])"
        ),
        st.tuples(inner, st.lists(constants, max_size=3)).map(
            lambda parts: f"(dyn({parts[0]}) in [{', '.join(parts[1])}])"
        ),
        st.tuples(inner, searches, patterns).map(lambda parts: f"{parts[0]}.{parts[1]}({parts[2]})"),
        st.tuples(inner, st.sampled_from(["lowerAscii", "upperAscii", "size"])).map(lambda p: f"{p[0]}.{p[1]}()"),
        st.sampled_from(["has(row.n)", "has(row.gone)", "has(row.any)"]),
    )


expressions = st.recursive(fields | constants, _grown, max_leaves=6)
typed_rows = st.lists(
    st.fixed_dictionaries(
        {
            "n": st.none() | wholes,
            "x": st.none() | reals,
            "t": st.none() | texts,
            "b": st.none() | st.booleans(),
            "any": st.none(),
        }
    ),
    max_size=6,
)
loose_rows = st.lists(st.dictionaries(st.sampled_from(["n", "x", "t", "b", "any"]), values, max_size=5), max_size=6)
SCHEMA = pa.schema([("n", pa.int64()), ("x", pa.float64()), ("t", pa.string()), ("b", pa.bool_()), ("any", pa.null())])


def outcomes(expression: RowExpression, frame: Rows | pa.Table) -> list[tuple[str, str]]:
    """Type and value of each row by CEL, or what fails."""
    count = frame.num_rows if isinstance(frame, pa.Table) else len(frame)
    found = []
    for row in range(count):
        try:
            found.append(_told(expression.at(cast("Rows", frame), row)))
        except RowFailedError:
            found.append(("failure", ""))
    return found


def _told(value: object) -> tuple[str, str]:
    return type(value).__name__, repr(value)


def vectorised(expression: RowExpression, frame: Rows | pa.Table) -> list[tuple[str, str]] | None:
    """The same for all rows at once; None where that is left to CEL."""
    evaluation = Evaluation(cast("Rows", frame))
    cells = expression.cells(evaluation)
    if cells is None:
        return None
    defined = cells.defined()
    whole = [defined.as_py()] * evaluation.count if isinstance(defined, pa.Scalar) else defined.to_pylist()
    given_values = cells.values(evaluation.count)
    return [_told(value) if one else ("failure", "") for value, one in zip(given_values, whole, strict=True)]


def compiled(source: str) -> RowExpression | None:
    try:
        return RowExpression.compiled(source, "where")
    except ValidationError:
        return None


@settings(max_examples=400, deadline=None)
@given(expressions, typed_rows, loose_rows)
@example("(row.n in [1.0])", [{"n": 2**53 + 1, "x": 0.0, "t": "", "b": None, "any": None}], [])
@example("(dyn(row.x) in [0])", [{"n": 1, "x": -0.0, "t": "", "b": None, "any": None}], [])
@example("(row.x / row.n)", [{"n": 0, "x": math.nan, "t": "", "b": None, "any": None}], [{"n": 0, "x": 1.0}])
@example("(row.n / row.n)", [{"n": 0, "x": 0.0, "t": "", "b": None, "any": None}], [{"n": 0}, {"n": -7}])
@example("(row.n % row.any)", [], [{"n": -7, "any": 2}, {"n": 7, "any": -2}, {"n": 7, "any": 0}])
@example("(row.any == row.n)", [], [{"n": 1, "any": "1"}, {"n": 1, "any": 1.0}, {"any": None, "n": None}, {}])
def test_all_rows_at_once_are_what_they_are_one_by_one(source: str, typed: Rows, loose: Rows) -> None:
    """R26, R28: values, their types and the rows that fail, of rows and tables, on random expressions."""
    expression = compiled(source)
    if expression is None:
        return
    for frame in (typed, loose, pa.Table.from_pylist(typed, schema=SCHEMA)):
        found = vectorised(expression, frame)
        if found is not None:
            assert found == outcomes(expression, frame), source


PLAIN: Rows = [
    {"n": 7, "x": 2.5, "t": "Ab", "b": True},
    {"n": -7, "x": -0.5, "t": "b", "b": False},
    {"n": 2, "x": 0.0, "t": "", "b": True},
]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("row.n", [7, -7, 2]),
        ("row['t']", ["Ab", "b", ""]),
        ("row.n / 2 + row.n % 4", [6, -6, 3]),
        ("row.n * 1.5 - row.x", [8.0, -10.0, 3.0]),
        ("-row.n", [-7, 7, -2]),
        ("row.t + '!' + string(row.n)", ["Ab!7", "b!-7", "!2"]),
        ("row.n > 1 && row.x <= 2.5 || !row.b", [True, True, True]),
        ("row.b ? row.n : 0", [7, 0, 2]),
        ("row.n in [1, 2, 7.0]", [True, False, True]),
        ("row.t in ['b', '']", [False, True, True]),
        ("row.t.lowerAscii().contains('b')", [True, True, False]),
        ("row.t.matches('^[A-Z]') || row.t.endsWith('b')", [True, True, False]),
        ("size(row.t) + row.t.size()", [4, 2, 0]),
        ("has(row.gone) || has(row.n)", [True] * 3),
        ("int(row.x) + int(row.b)", [3, 0, 1]),
        ("double(row.n)", [7.0, -7.0, 2.0]),
        ("1 + 1", [2, 2, 2]),
    ],
)
def test_what_is_vectorised(source: str, expected: list[object]) -> None:
    """R28: these are not evaluated row by row, of rows or of a table."""
    expression = RowExpression.compiled(source, "where")
    for frame in (PLAIN, pa.Table.from_pylist(PLAIN)):
        evaluation = Evaluation(cast("Rows", frame))
        cells = expression.cells(evaluation)
        assert isinstance(cells, Cells)
        assert cells.first_failure(3) is None
        assert [*map(_told, cells.values(3))] == [*map(_told, expected)]


@pytest.mark.parametrize(
    "source",
    [
        "row",
        "row.t.charAt(0)",
        "row.n in [row.n]",
        "row.t.contains(row.t)",
        "[row.n]",
        "{'a': row.n}",
        "[1, 2].all(x, x < row.n)",
        "row.n + 9223372036854775807",
        "row.t.matches('(')",
        "string(row.x)",
        "int(row.t)",
        "row.n == 1u",
        "row.a.b",
        "row.t == '\\u0000'",
    ],
)
def test_what_is_left_to_cel(source: str) -> None:
    """R28: all that Arrow might do otherwise."""
    expression = RowExpression.compiled(source, "where")
    assert expression.cells(Evaluation(PLAIN)) is None


def test_values_that_arrow_would_change_are_left_to_cel() -> None:
    """F22: nested values, integers beyond 64 bits; texts with a NUL, which CEL would cut off, are refused."""
    expression = RowExpression.compiled("row.a == row.a", "where")
    for value in ([1], {"b": 1}, 2**63):
        assert list(expression.each([{"a": value}], ComputeContext())) == [True]
        assert expression.cells(Evaluation([{"a": value}])) is None
    for frame in ([{"a": "x"}, {"a": "a\0b"}], pa.table({"a": ["x", "a\0b"]})):
        assert expression.cells(Evaluation(cast("Rows", frame))) is None
        with pytest.raises(RowFailedError, match="the field 'a' has a NUL in it") as caught:
            list(expression.each(cast("Rows", frame), ComputeContext()))
        assert caught.value.row == 1
    with pytest.raises(RowFailedError):
        expression.at([{"a": "\udc80"}], 0)


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1, None], pa.int8()),
        pa.array([1, None], pa.uint32()),
        pa.array([1, 2], pa.uint64()),
        pa.array([1.5, None], pa.float32()),
        pa.array(["a", None], pa.large_string()),
        pa.array(["a", None]).dictionary_encode(),
        pa.chunked_array([[1], [None], []], pa.int64()),
        pa.nulls(2),
    ],
)
def test_columns_of_other_widths_and_encodings(column: pa.Array) -> None:
    """R28: they count as what CEL takes them for."""
    table = pa.table({"n": column})
    for source in ("row.n == 1", "row.n != null", "row.n == 'a' ? row.n : null", "row.n"):
        expression = RowExpression.compiled(source, "where")
        assert vectorised(expression, table) == outcomes(expression, table)


def test_columns_of_types_that_arrow_and_cel_do_not_share_are_left_to_cel() -> None:
    """R28: times, decimals, lists; and only the columns that an expression reads matter."""
    table = pa.table({"n": [1], "when": pa.array([0], pa.timestamp("us", "UTC")), "list": [[1, 2]]})
    for source, expected in (("row.when.getFullYear()", 1970), ("row.list.size() + row.n", 3)):
        expression = RowExpression.compiled(source, "where")
        assert expression.cells(Evaluation(cast("Rows", table))) is None
        assert list(expression.each(cast("Rows", table), ComputeContext())) == [expected]
    assert vectorised(RowExpression.compiled("row.n + 1", "where"), table) == [("int", "2")]
    constant = RowExpression.compiled("[1][0]", "where")
    assert list(constant.each(cast("Rows", table), ComputeContext())) == [1]


def test_the_syntax_of_an_expression() -> None:
    """R31: what the compiler wrote is read back; what is not known is said to be so."""

    def syntax(source: str) -> object:
        return syntax_of(RowExpression.compiled(source, "where").program)

    row = Variable("row")
    assert syntax("row.a.size() > 1 && has(row.b)") == Call(
        "_&&_",
        (Call("_>_", (Call("size", (Selection(row, "a", False),)), Constant(1))), Selection(row, "b", True)),
    )
    assert syntax("row.a in [null, -1.5, true, 'x']") == Call(
        "@in",
        (Selection(row, "a", False), ListOf((Constant(None), Constant(-1.5), Constant(True), Constant("x")))),
    )
    assert syntax("{'a': 1}") == Unread()
    assert isinstance(syntax("+".join(["row.a"] * 20)), Call)
    with pytest.raises(ValidationError, match="max recursion depth of 32"):
        syntax("+".join(["row.a"] * 40))


@pytest.mark.parametrize(
    ("source", "fields_read"),
    [
        ("1", set()),
        ("row.a + row['b'].c", {"a", "b"}),
        ("row.a in [1, row.b]", {"a", "b"}),
        ("has(row.a)", {"a"}),
        ("size(row)", None),
        ("row[row.a]", None),
        ("[1].all(x, row.a == x)", None),
    ],
)
def test_the_fields_that_an_expression_reads(source: str, fields_read: set[str] | None) -> None:
    """R28: None where it may be any."""
    assert fields_of(RowExpression.compiled(source, "where").syntax, "row") == fields_read
