"""CEL's operators on cells: what each gives by the types of its operands, as `cel_environment` has them.

Overflow of integers, which fails in the rows where it happens, makes Arrow refuse the whole: then CEL finds the row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce

from onex_mesh.compute.core.expressions.cells import Cells, Kind, NotVectorisedError, call, nothing
from onex_mesh.compute.core.tables import Column, arrow, arrow_compute
from onex_mesh.runtime.cel_syntax import Scalar

_CHECKED = {"_+_": "add_checked", "_-_": "subtract_checked", "_*_": "multiply_checked"}
_FLOATING = {"_+_": "add", "_-_": "subtract", "_*_": "multiply", "_/_": "divide"}
_ORDER = {"_<_": "less", "_<=_": "less_equal", "_>_": "greater", "_>=_": "greater_equal"}
_TRUNCATED_BELOW = 2.0**62

Operation = Callable[[Column, Column], Column]


def arithmetic(operator: str, left: Cells, right: Cells) -> Cells:
    """Sum, difference, product, quotient or remainder."""
    found: list[tuple[Kind, Column]] = []
    for one in left.kinds:
        for two in right.kinds:
            a, b = left.of(one), right.of(two)
            if one == two == "whole":
                found.append(("whole", _of_wholes(operator, a, b)))
            elif one == two == "text" and operator == "_+_":
                found.append(("text", _joined(a, b)))
            elif {one, two} <= {"whole", "real"} and operator in _FLOATING:
                found.append(("real", call(_FLOATING[operator], as_real(a, one), as_real(b, two))))
    return _merged(found)


def negated(operand: Cells) -> Cells:
    """The negative of a number."""
    found: list[tuple[Kind, Column]] = []
    if "whole" in operand.kinds:
        found.append(("whole", call("negate_checked", operand.of("whole"))))
    if "real" in operand.kinds:
        found.append(("real", call("negate", operand.of("real"))))
    return _merged(found)


def compared(operator: str, left: Cells, right: Cells) -> Cells:
    """Whether one is less than the other, and so on: among numbers, among texts, among booleans."""
    return _truth([call(_ORDER[operator], a, b) for a, b in _alike(left, right, {"whole", "real", "text", "truth"})])


def equal(left: Cells, right: Cells) -> Cells:
    """Whether both are the same; values of different types never are, but for numbers."""
    found = [call("equal", a, b) for a, b in _alike(left, right, {"whole", "real", "text", "truth", "null"})]
    if any(not _are_alike(one, two) for one in left.kinds for two in right.kinds):
        both = call("and", left.defined(), right.defined())
        found.append(call("if_else", both, False, nothing("truth")))
    return _truth(found)


def inverted(operand: Cells) -> Cells:
    """Not."""
    return _truth([call("invert", operand.of("truth"))])


def conjunction(left: Cells, right: Cells) -> Cells:
    """And: false if either is false, whatever is wrong with the other."""
    return _truth([call("and_kleene", left.of("truth"), right.of("truth"))])


def disjunction(left: Cells, right: Cells) -> Cells:
    """Or: true if either is true, whatever is wrong with the other."""
    return _truth([call("or_kleene", left.of("truth"), right.of("truth"))])


def conditional(condition: Cells, then: Cells, otherwise: Cells) -> Cells:
    """One of two, whatever is wrong with the other."""
    kinds = dict.fromkeys((*then.kinds, *otherwise.kinds))
    test = condition.of("truth")
    return Cells({kind: call("if_else", test, then.of(kind), otherwise.of(kind)) for kind in kinds})


def member(operand: Cells, constants: Sequence[Scalar]) -> Cells:
    """Whether a value is one of a list of constants."""
    found = []
    for kind, column in operand.kinds.items():
        inside = _inside(kind, column, constants)
        found.append(call("if_else", call("is_valid", column), inside, nothing("truth")))
    return _truth(found)


def to_whole(operand: Cells) -> Cells:
    """int(): towards zero."""
    found: list[tuple[Kind, Column]] = []
    for kind, column in operand.kinds.items():
        match kind:
            case "text":
                raise NotVectorisedError
            case "whole":
                found.append(("whole", column))
            case "truth":
                found.append(("whole", arrow_compute().cast(column, arrow().int64())))
            case "real":
                within = call("less", call("abs", column), _TRUNCATED_BELOW)
                if not arrow_compute().all(within).as_py():
                    raise NotVectorisedError
                found.append(("whole", arrow_compute().cast(call("trunc", column), arrow().int64())))
    return _merged(found)


def to_real(operand: Cells) -> Cells:
    """double()."""
    if "text" in operand.kinds:
        raise NotVectorisedError
    return _merged([("real", as_real(operand.of(kind), kind)) for kind in operand.kinds if kind in ("whole", "real")])


def to_text(operand: Cells) -> Cells:
    """string(): of whole numbers, booleans and texts."""
    if "real" in operand.kinds:
        raise NotVectorisedError
    kinds = [kind for kind in operand.kinds if kind != "null"]
    return _merged([("text", arrow_compute().cast(operand.of(kind), arrow().string())) for kind in kinds])


def length(operand: Cells) -> Cells:
    """size(): characters of a text."""
    if "text" not in operand.kinds:
        return Cells({})
    return Cells({"whole": arrow_compute().cast(call("utf8_length", operand.of("text")), arrow().int64())})


def of_text(operand: Cells, kind: Kind, function: Callable[[Column], Column]) -> Cells:
    """What a function of Arrow makes of a text."""
    return Cells({kind: function(operand.of("text"))}) if "text" in operand.kinds else Cells({})


def as_real(column: Column, kind: Kind) -> Column:
    """Whole numbers rounded to the nearest double, as CEL does; doubles as they are."""
    found: Column = arrow_compute().cast(column, arrow().float64(), safe=False) if kind == "whole" else column
    return found


def _of_wholes(operator: str, a: Column, b: Column) -> Column:
    if operator in _CHECKED:
        return call(_CHECKED[operator], a, b)
    # Division by zero fails in its row alone.
    divisor = call("if_else", call("equal", b, 0), nothing("whole"), b)
    quotient = call("divide_checked", a, divisor)
    return quotient if operator == "_/_" else call("subtract", a, call("multiply", quotient, divisor))


def _joined(a: Column, b: Column) -> Column:
    found: Column = arrow_compute().binary_join_element_wise(a, b, "")
    return found


def _are_alike(one: Kind, two: Kind) -> bool:
    return one == two or {one, two} == {"whole", "real"}


def _alike(left: Cells, right: Cells, kinds: set[Kind]) -> list[tuple[Column, Column]]:
    """Pairs of arrays of types that can be compared, in one type."""
    pairs = []
    for one in left.kinds:
        for two in right.kinds:
            if {one, two} <= kinds and _are_alike(one, two):
                a, b = left.of(one), right.of(two)
                pairs.append((a, b) if one == two else (as_real(a, one), as_real(b, two)))
    return pairs


def _inside(kind: Kind, column: Column, constants: Sequence[Scalar]) -> Column:
    pa, pc = arrow(), arrow_compute()
    wholes = [value for value in constants if type(value) is int]
    reals = [value for value in constants if type(value) is float]
    match kind:
        case "null":
            return call("and", column, None in constants)
        case "whole":
            among = pc.is_in(column, value_set=pa.array(wholes, "int64"))
            return call("or", among, _inside("real", as_real(column, kind), reals)) if reals else among
        case "real":
            # Zero is put instead of minus zero, which has another hash.
            near = pa.array([float(value) + 0.0 for value in (*wholes, *reals)], "float64")
            within = pc.is_in(call("add", column, 0.0), value_set=near)
            return call("and", within, call("invert", call("is_nan", column)))
        case "text":
            texts = [value for value in constants if isinstance(value, str)]
            return pc.is_in(column, value_set=pa.array(texts, "string"))  # type: ignore[no-any-return]  # an array
        case "truth":
            truths = [value for value in constants if isinstance(value, bool)]
            return pc.is_in(column, value_set=pa.array(truths, "bool"))  # type: ignore[no-any-return]  # an array


def _truth(found: Sequence[Column]) -> Cells:
    return _merged([("truth", column) for column in found])


def _merged(found: Sequence[tuple[Kind, Column]]) -> Cells:
    """Of the arrays of one type, which are valid in different rows, one."""
    by_kind: dict[Kind, list[Column]] = {}
    for kind, column in found:
        by_kind.setdefault(kind, []).append(column)
    made: Mapping[Kind, Column] = {
        kind: reduce(lambda one, two: call("coalesce", one, two), columns) for kind, columns in by_kind.items()
    }
    return Cells(made)
