"""Whether a condition can hold at all, as far as comparisons with constants tell: `n > 5 && n < 3` cannot.

What is not understood is taken for something that may hold, so "cannot" is always true, and "can" is not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from onex_mesh.reducer.core.declarative.tree import Call, Items, Literal, Name, Node

Constant = str | int | float | bool

_MIRRORED = {"_<_": "_>_", "_<=_": "_>=_", "_>_": "_<_", "_>=_": "_<=_", "_==_": "_==_", "_!=_": "_!=_"}
_OPPOSITE = {"_<_": "_>=_", "_<=_": "_>_", "_>_": "_<=_", "_>=_": "_<_", "_==_": "_!=_", "_!=_": "_==_"}
_BRANCHES_MAX = 256
"""Alternatives that are looked at; of a condition with more nothing is said."""


@dataclass(frozen=True, slots=True)
class Domain:
    """The values that something may have.

    Attributes:
        least: The least number.
        greatest: The greatest number.
        among: All values that there are; None for any.
        without: Values that it does not have.
        is_whole: Whether numbers are whole.
    """

    least: float = -math.inf
    greatest: float = math.inf
    among: frozenset[Constant] | None = None
    without: frozenset[Constant] = frozenset()
    is_whole: bool = False

    def narrowed(self, operator: str, value: Constant) -> Domain:
        """The values for which a comparison holds."""
        if operator == "_==_":
            return self.within((value,))
        if operator == "_!=_":
            return replace(self, without=self.without | {value})
        if isinstance(value, str | bool):
            return self
        step = 1 if self.is_whole and isinstance(value, int) else 0
        # Of real numbers the bound itself is left out by name.
        without = self.without if step or operator in ("_<=_", "_>=_") else self.without | {value}
        if operator in ("_<_", "_<=_"):
            bound = value - step if operator == "_<_" else value
            return replace(self, greatest=min(self.greatest, bound), without=without)
        bound = value + step if operator == "_>_" else value
        return replace(self, least=max(self.least, bound), without=without)

    def within(self, values: Sequence[Constant]) -> Domain:
        """Those that are among some values."""
        given = frozenset(values)
        return replace(self, among=given if self.among is None else self.among & given)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left."""
        if self.among is not None:
            return not any(value not in self.without and self._is_between(value) for value in self.among)
        return self.least > self.greatest or (self.least == self.greatest and self.least in self.without)

    def _is_between(self, value: Constant) -> bool:
        return isinstance(value, str | bool) or self.least <= value <= self.greatest


Domains = Mapping[Node, Domain]
"""What is known of names, and of calls such as `size(payload.items)`, before."""


def can_hold(conditions: Sequence[Node], domains: Domains) -> bool:
    """Whether all of some conditions can hold together; True where that cannot be told."""
    return _Search().can_hold(tuple(conditions), domains)


class _Search:
    def __init__(self) -> None:
        self._branches = 0

    def can_hold(self, conditions: tuple[Node, ...], domains: Domains) -> bool:
        if not conditions:
            return True
        first, rest = conditions[0], conditions[1:]
        match first:
            case Literal(value=bool(value)):
                return value and self.can_hold(rest, domains)
            case Call(function="_&&_", arguments=parts):
                return self.can_hold((*parts, *rest), domains)
            case Call(function="_||_", arguments=parts):
                self._branches += 1
                return self._branches > _BRANCHES_MAX or any(self.can_hold((part, *rest), domains) for part in parts)
            case Call(function="!_", arguments=(inner,)):
                negated = _negated(inner)
                return self.can_hold((negated, *rest) if negated is not None else rest, domains)
        narrowed = _narrowed(first, domains)
        return narrowed is not None and self.can_hold(rest, narrowed)


def _negated(node: Node) -> Node | None:
    """The opposite of a condition; None if that cannot be told."""
    match node:
        case Literal(value=bool(value)):
            return Literal(not value)
        case Call(function="_&&_" | "_||_" as function, arguments=parts):
            turned = tuple(Call("!_", (part,)) for part in parts)
            return Call("_||_" if function == "_&&_" else "_&&_", turned)
        case Call(function="!_", arguments=(inner,)):
            return inner
        case Call(function=function, arguments=parts) if function in _OPPOSITE:
            return Call(_OPPOSITE[function], parts)
        case Name():
            return Call("_==_", (node, Literal(False)))
    return None


def _narrowed(node: Node, domains: Domains) -> Domains | None:
    """What is known once a condition holds; None if it cannot."""
    what: Node = node
    match node:
        case Name():
            narrowed = domains.get(node, Domain()).within((True,))
        case Call(function=operator, arguments=(Literal(value=one), Literal(value=other))) if operator in _OPPOSITE:
            return None if Domain().within((one,)).narrowed(operator, other).is_empty else domains
        case Call(function=operator, arguments=(what, Literal(value=value))) if operator in _OPPOSITE:
            narrowed = domains.get(what, _natural(what)).narrowed(operator, value)
        case Call(function=operator, arguments=(Literal(value=value), what)) if operator in _OPPOSITE:
            narrowed = domains.get(what, _natural(what)).narrowed(_MIRRORED[operator], value)
        case Call(function="@in", arguments=(what, Items(items=items))) if all(
            isinstance(row, Literal) for row in items
        ):
            values = [row.value for row in items if isinstance(row, Literal)]
            narrowed = domains.get(what, _natural(what)).within(values)
        case _:
            return domains
    if not _is_the_same_again(what):
        return domains
    return None if narrowed.is_empty else {**domains, what: narrowed}


def _natural(what: Node) -> Domain:
    """What a call may give, whatever it is given."""
    match what:
        case Call(function="size"):
            return Domain(least=0, is_whole=True)
        case Call(function="decimal.compare"):
            return Domain(among=frozenset((-1, 0, 1)), is_whole=True)
    return Domain()


def _is_the_same_again(what: Node) -> bool:
    """Whether it has the same value wherever it stands in a condition; a number that is drawn has not."""
    match what:
        case Call(function="size" | "decimal.compare", arguments=arguments):
            return all(isinstance(row, Name | Literal) for row in arguments)
    return isinstance(what, Name)
