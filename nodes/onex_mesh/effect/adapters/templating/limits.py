"""What operators, filters and methods of templates would make, judged before they make it."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import cast

from onex_mesh.effect.adapters.templating.budget import TooLargeError, budget
from onex_mesh.effect.adapters.templating.weight import weigh

_INT_BITS_MAX = 1_024
_EXPONENT_MAX = 256
_WIDTH_MAX = 200
_ITEMS_MAX = 1_000
_CONVERSION = re.compile(r"%(?:\((?P<name>[^)]*)\))?[#0\- +]*(?P<width>\*|\d+)?(?:\.(?P<precision>\*|\d+))?")

_STR_METHODS = """
    upper lower strip lstrip rstrip title capitalize casefold swapcase startswith endswith removeprefix removesuffix
    split rsplit splitlines partition rpartition count find rfind index isdigit isalpha isalnum isnumeric isdecimal
    islower isupper isspace istitle isascii
"""

METHODS: Mapping[type, frozenset[str]] = {
    str: frozenset(_STR_METHODS.split()),
    dict: frozenset({"items", "keys", "values", "get"}),
    list: frozenset({"count", "index"}),
    tuple: frozenset({"count", "index"}),
    bool: frozenset(),
    int: frozenset(),
    float: frozenset({"is_integer"}),
}
"""What templates may call on plain values: nothing that makes much out of little."""


def size_of(value: object) -> int:
    """How much a value is to work on: characters, or items."""
    return len(value) if isinstance(value, str | list | tuple | dict | range) else 1


def check_operation(operator: str, left: object, right: object) -> None:
    """Refuses an operation that would make a huge text, list or number.

    Raises:
        TooLargeError: It would.
    """
    current = budget()
    current.step()
    match operator:
        case "+" if isinstance(left, str | list | tuple):
            current.make(size_of(left) + size_of(right))
        case "*" if isinstance(left, str | list | tuple) or isinstance(right, str | list | tuple):
            count = left if isinstance(left, int) else right
            items = right if isinstance(left, int) else left
            current.make(size_of(items) * max(count, 0) if isinstance(count, int) else 0)
        case "*" if isinstance(left, int) and isinstance(right, int):
            _require_bits(left.bit_length() + right.bit_length())
        case "**" if isinstance(left, int) and isinstance(right, int):
            if abs(right) > _EXPONENT_MAX:
                raise TooLargeError(f"an exponent is beyond {_EXPONENT_MAX}")
            _require_bits(left.bit_length() * abs(right))
        case "%" if isinstance(left, str):
            check_format(left)
            current.make(weigh(right))


def check_format(text: str) -> None:
    """Refuses a printf-like format with a width that fills memory.

    Raises:
        TooLargeError: It has one, or takes it from the data.
    """
    budget().make(len(text))
    for conversion in _CONVERSION.finditer(text.replace("%%", "")):
        for width in (conversion["width"], conversion["precision"]):
            if width is not None and (width == "*" or len(width) > 3 or int(width) > _WIDTH_MAX):
                raise TooLargeError(f"a width in a format is beyond {_WIDTH_MAX}")


def _require_bits(bits: int) -> None:
    if bits > _INT_BITS_MAX:
        raise TooLargeError(f"a number has more than {_INT_BITS_MAX} bits")


Growth = Callable[[object, Sequence[object], Mapping[str, object]], int]
"""Value, arguments → characters or items that a filter makes beyond its value."""


def _given(position: int, name: str, default: object) -> Callable[[Sequence[object], Mapping[str, object]], object]:
    return lambda args, named: named.get(name, args[position] if len(args) > position else default)


_old, _new = _given(0, "old", ""), _given(1, "new", "")
_separator, _width = _given(0, "d", ""), _given(0, "width", 4)
_count = {"batch": _given(0, "linecount", 1), "slice": _given(0, "slices", 1)}


def _replaced(value: object, args: Sequence[object], named: Mapping[str, object]) -> int:
    text, old, new = str(value), str(_old(args, named)), str(_new(args, named))
    return (text.count(old) if old else len(text) + 1) * len(new)


def _joined(value: object, args: Sequence[object], named: Mapping[str, object]) -> int:
    items = cast("Collection[object]", value)
    return len(items) * len(str(_separator(args, named))) + sum(size_of(item) for item in items)


def _indented(value: object, args: Sequence[object], named: Mapping[str, object]) -> int:
    width = _width(args, named)
    return (str(value).count("\n") + 1) * (len(width) if isinstance(width, str) else max(int(cast(int, width)), 0))


def _in_groups(name: str) -> Growth:
    def growth(value: object, args: Sequence[object], named: Mapping[str, object]) -> int:
        count = _count[name](args, named)
        if isinstance(count, int) and count > _ITEMS_MAX:
            raise TooLargeError(f"groups of more than {_ITEMS_MAX}")
        return count if isinstance(count, int) else 0

    return growth


def _formatted(value: object, args: Sequence[object], named: Mapping[str, object]) -> int:
    check_format(str(value))
    return sum(size_of(argument) for argument in (*args, *named.values()))


GROWTH: Mapping[str, Growth] = {
    "replace": _replaced,
    "join": _joined,
    "indent": _indented,
    "batch": _in_groups("batch"),
    "slice": _in_groups("slice"),
    "format": _formatted,
}
"""The filters that can make much out of little."""
