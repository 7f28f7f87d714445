"""Inverses of effects: how the parameters of the one that undoes come from what the one to be undone took and gave.

They are checked when the application is loaded: an inverse that turns out to be missing, or to lack a parameter, on the
day on which something has to be undone is of no use to anybody.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from onex_mesh.effect.core.json_shapes import Shape, kind_of, lacking
from onex_mesh.runtime.payload import Json

_REFERENCE = re.compile(r"\$\{\s*(parameters|result)((?:\.[A-Za-z_]\w*)*)\s*\}")


@dataclass(frozen=True, slots=True)
class Compensation:
    """The inverse of an effect.

    Args:
        effect: Name of the effect of the same application that undoes.
        parameters: Its parameters. A text `${result.…}` or `${parameters.…}` is replaced by that part of what the
            effect returned or was given, with its type; everything else stands for itself. None: each parameter is the
            field of the same name of the result, or else of the parameters.
    """

    effect: str
    parameters: Mapping[str, Json] | None = None


@dataclass(frozen=True, slots=True)
class Inverse:
    """What to execute to undo one execution of an effect."""

    effect_type: str
    parameters: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Sources:
    """What an effect takes and gives, as far as its handler's annotations say."""

    parameters: Shape | None
    result: Shape | None

    def of(self, root: str) -> Shape | None:
        """The shape of `parameters` or `result`."""
        return self.parameters if root == "parameters" else self.result


def problems_of(compensation: Compensation, sources: Sources, taken: Shape | None) -> Iterator[str]:
    """Why the parameters of an inverse could not be made, as far as that can be known beforehand.

    Args:
        compensation: The declaration.
        sources: What the effect to be undone takes and gives.
        taken: What the inverse takes; None if any mapping.
    """
    mapping = compensation.parameters
    if mapping is None:
        if taken is None:
            yield "takes any mapping; say which parameters it is given"
            return
        yield from _missing_by_name(sources, taken)
        mapping = by_name(sources, taken)
    elif taken is not None:
        for name in sorted(taken.required() - mapping.keys()):
            yield f"parameter {name!r} is required and not given"
        for name in sorted(mapping.keys() - taken.properties().keys()):
            if not taken.takes_other_fields():
                yield f"has no parameter {name!r}"
    for name, value in mapping.items():
        yield from _value_problems(name, value, sources, _field(taken, name))


def by_name(sources: Sources, taken: Shape) -> dict[str, Json]:
    """The mapping where none is declared: fields of the same name, of the result before those of the parameters."""
    found: dict[str, Json] = {}
    for name in taken.properties():
        for root in ("result", "parameters"):
            shape = sources.of(root)
            if shape is not None and isinstance(shape.at((name,)), Shape):
                found[name] = f"${{{root}.{name}}}"
                break
    return found


def filled_in(value: Json, roots: Mapping[str, Json]) -> Json:
    """A declared value with its references replaced.

    Raises:
        LookupError: A reference leads to nothing.
    """
    if isinstance(value, dict):
        return {key: filled_in(item, roots) for key, item in value.items()}
    if isinstance(value, list):
        return [filled_in(item, roots) for item in value]
    found = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return value
    reached = roots[found[1]]
    for name in _names(found[2]):
        if not isinstance(reached, dict) or name not in reached:
            raise LookupError(f"{value} is not there")
        reached = reached[name]
    return reached


def _missing_by_name(sources: Sources, taken: Shape) -> Iterator[str]:
    for name in sorted(taken.required() - by_name(sources, taken).keys()):
        yield f"parameter {name!r} is required, and neither the result nor the parameters surely have such a field"


def _value_problems(name: str, value: Json, sources: Sources, field: Shape | None) -> Iterator[str]:
    if isinstance(value, str) and "${" in value:
        found = _REFERENCE.fullmatch(value)
        if found is None:
            yield f"parameter {name!r}: {value!r} is not ${{parameters.…}} or ${{result.…}}, alone"
            return
        reached = _reached(found[1], _names(found[2]), sources)
        if isinstance(reached, str):
            yield f"parameter {name!r}: {value}: {reached}"
        else:
            yield from _kind_problems(name, reached.kinds(), field)
    elif isinstance(value, dict | list):
        inner = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in inner:
            yield from _value_problems(f"{name}.{key}", item, sources, None)
        yield from _kind_problems(name, frozenset((kind_of(value),)), field)
    elif not kind_of(value):
        yield f"parameter {name!r}: a {type(value).__name__} is not JSON"
    else:
        yield from _kind_problems(name, frozenset((kind_of(value),)), field)


def _reached(root: str, path: list[str], sources: Sources) -> Shape | str:
    shape = sources.of(root)
    if shape is None:
        what = "first parameter" if root == "parameters" else "return value"
        return f"the annotation of the handler's {what} does not say what it holds"
    return shape.at(path)


def _kind_problems(name: str, given: frozenset[str], field: Shape | None) -> Iterator[str]:
    missing = lacking(given, field.kinds()) if field is not None else ()
    if missing:
        assert field is not None
        takes, gets = " or ".join(sorted(field.kinds())), " or ".join(sorted(missing))
        yield f"parameter {name!r} takes {takes}, but may be given {gets}"


def _field(taken: Shape | None, name: str) -> Shape | None:
    if taken is None or name not in taken.properties():
        return None
    schema = taken.properties()[name]
    return Shape(schema, taken.definitions) if isinstance(schema, Mapping) else None


def _names(path: str) -> list[str]:
    return path.split(".")[1:]
