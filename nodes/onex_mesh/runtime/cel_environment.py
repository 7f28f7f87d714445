"""CEL as the mesh speaks it.

Numbers of JSON are whole or not by their value, not by their type: a price is 2 today and 2.5 tomorrow. Standard CEL
would take `price * 2` on the one day and refuse it on the other. Here the four operations also take a whole number with
one that is not, and give one that is not. Division of two whole numbers stays whole, as CEL has it: write `/ 2.0`.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence

from cel_expr_python import cel
from cel_expr_python.ext import ext_strings
from google.protobuf import descriptor_pool

_INT, _UINT, _DOUBLE = cel.Type.INT, cel.Type.UINT, cel.Type.DOUBLE
_STRING, _BYTES, _LIST = cel.Type.STRING, cel.Type.BYTES, cel.Type.LIST
_TIME, _SPAN = cel.Type.TIMESTAMP, cel.Type.DURATION

# The overloads of standard CEL by name; declaring an operator anew means declaring all of them.
_STANDARD: Mapping[str, Mapping[str, tuple[cel.Type, cel.Type, cel.Type]]] = {
    "_+_": {
        "add_string": (_STRING, _STRING, _STRING),
        "add_bytes": (_BYTES, _BYTES, _BYTES),
        "add_list": (_LIST, _LIST, _LIST),
        "add_timestamp_duration": (_TIME, _TIME, _SPAN),
        "add_duration_timestamp": (_TIME, _SPAN, _TIME),
        "add_duration_duration": (_SPAN, _SPAN, _SPAN),
    },
    "_-_": {
        "subtract_timestamp_timestamp": (_SPAN, _TIME, _TIME),
        "subtract_timestamp_duration": (_TIME, _TIME, _SPAN),
        "subtract_duration_duration": (_SPAN, _SPAN, _SPAN),
    },
    "_*_": {},
    "_/_": {},
}
_NAMES = {"_+_": "add", "_-_": "subtract", "_*_": "multiply", "_/_": "divide"}
_OPERATIONS: Mapping[str, Callable[[float, float], float]] = {
    "_+_": operator.add,
    "_-_": operator.sub,
    "_*_": operator.mul,
    "_/_": operator.truediv,
}


def new_environment(variables: Iterable[str]) -> cel.Env:
    """An environment in which the variables hold any JSON."""
    return typed_environment(dict.fromkeys(variables, cel.Type.DYN))


def typed_environment(
    variables: Mapping[str, cel.Type],
    *,
    messages: descriptor_pool.DescriptorPool | None = None,
    package: str = "",
    functions: Sequence[cel.FunctionDecl] = (),
) -> cel.Env:
    """An environment whose variables have types, which are checked when an expression is compiled.

    Args:
        variables: Type by name.
        messages: The messages that types may be.
        package: Where messages are found that are named without their package.
        functions: More functions.
    """
    excluded = "".join(f'    - name: "{name}"\n' for name in _STANDARD)
    config = cel.NewEnvConfigFromYaml(f"name: onex\nstdlib:\n  exclude_functions:\n{excluded}")
    return cel.NewEnv(
        descriptor_pool=messages,
        config=config,
        variables=variables,
        extensions=[ext_strings.ExtStrings()],
        container=package,
        functions=[*(cel.FunctionDecl(name, _overloads(name)) for name in _STANDARD), *functions],
    )


def _overloads(name: str) -> Sequence[cel.Overload]:
    verb = _NAMES[name]
    same = {f"{verb}_{label}": (kind,) * 3 for label, kind in (("int64", _INT), ("uint64", _UINT), ("double", _DOUBLE))}
    found = [
        cel.Overload(overload, result, [left, right])
        for overload, (result, left, right) in {**same, **_STANDARD[name]}.items()
    ]
    operation = _quotient if name == "_/_" else _OPERATIONS[name]
    for label, left, right in (("int64_double", _INT, _DOUBLE), ("double_int64", _DOUBLE, _INT)):
        found.append(cel.Overload(f"{verb}_{label}", _DOUBLE, [left, right], impl=operation))
    return found


def _quotient(dividend: float, divisor: float) -> float:
    """As CEL divides doubles: by zero gives an infinity or not-a-number, which cannot be JSON and is refused later."""
    if divisor == 0:
        if dividend == 0 or math.isnan(dividend):
            return math.nan
        return math.copysign(math.inf, dividend) * math.copysign(1, divisor)
    return dividend / divisor
