"""The forms that data takes in algorithms, and the ways between them and plain JSON."""

from __future__ import annotations

import types
import typing
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum

import pydantic
from pydantic import BaseModel, ConfigDict, TypeAdapter
from pydantic_core import PydanticSerializationError

from onex_mesh.compute.core.arrays import array_of, is_array_type, plain_of
from onex_mesh.compute.core.tables import is_table, is_table_type, table_of
from onex_mesh.runtime.definition import refused
from onex_mesh.runtime.errors import ValidationError
from onex_mesh.runtime.payload import to_value

VIOLATIONS_MAX = 100
RESULT = "the result"


class DataKind(Enum):
    """How data is handed to a function."""

    PLAIN = "plain"
    """JSON as it is: dict, list, str, int, float, bool, None."""
    TYPED = "typed"
    """Checked and converted by pydantic: models, lists of models, list[float], bytes, …"""
    TABLE = "table"
    """A pyarrow.Table."""
    ARRAY = "array"
    """A numpy.ndarray."""
    AS_GIVEN = "as given"
    """Plain JSON or a table, whichever it was."""


class AnyData:
    """Annotation of data that is handed over as it came: a table stays one, all else is plain JSON."""


@dataclass(frozen=True, slots=True)
class DataForm:
    """The form of data or of a result.

    Attributes:
        kind: How it is handed over.
        name: For people, such as "list[Order]".
        adapter: What checks and converts it, for TYPED.
        divisible: Whether it may be a list or a table, which can be cut into chunks.
    """

    kind: DataKind
    name: str
    adapter: TypeAdapter[object] | None = field(default=None)
    divisible: bool = True

    def schema(self) -> dict[str, object] | None:
        """Its JSON schema; None where anything is taken, or where it is a table."""
        if self.kind is DataKind.ARRAY:
            return {"type": "array"}
        if self.adapter is None:
            return None
        return self.adapter.json_schema()

    def read(self, value: object, offset: int = 0, at: str = "input_data") -> object:
        """Data in this form, from plain JSON, bytes or a table.

        Args:
            value: The data, or a chunk of it.
            offset: How many items come before the chunk, for paths.
            at: Where the data stands, for paths.

        Raises:
            ValidationError: It does not fit; with the path of each violation.
        """
        if self.kind is DataKind.TABLE:
            return value if is_table(value) else table_of(value, at)
        if self.kind is DataKind.ARRAY:
            return array_of(value, offset, at)
        if self.kind is DataKind.AS_GIVEN:
            return value
        if is_table(value):
            value = value.to_pylist()
        if self.adapter is None:
            return value
        try:
            return self.adapter.validate_python(value)
        except pydantic.ValidationError as error:
            raise violations_error(error, at, offset) from None

    def write(self, result: object) -> object:
        """A result of this form as plain JSON, bytes or a table.

        Raises:
            ValueError: It is not of this form.
        """
        if self.kind is DataKind.ARRAY:
            return plain_of(result)
        if self.adapter is None:
            return result
        try:
            return self.adapter.dump_python(
                result, mode="python" if isinstance(result, bytes) else "json", by_alias=True, warnings="error"
            )
        except PydanticSerializationError as error:
            raise ValueError(f"it is not of the declared type {self.name}: {self._culprit(result) or error}") from None

    def _culprit(self, result: object) -> str:
        """Path of what in a result cannot be JSON, and why; empty if that is not what is wrong."""
        assert self.adapter is not None
        try:
            to_value(self.adapter.dump_python(result, by_alias=True, warnings=False))
        except (ValidationError, PydanticSerializationError) as error:
            return str(error)
        return ""


_ANY = DataForm(DataKind.PLAIN, "Json")


def data_form(function: Callable[..., object], annotation: object, what: str) -> DataForm:
    """The form that an annotation asks for.

    Raises:
        ValidationError: There is no such form; with file and line of the function.
    """
    if annotation is object or annotation is typing.Any:
        return _ANY
    if annotation is AnyData:
        return DataForm(DataKind.AS_GIVEN, "rows or a table")
    name = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    if is_table_type(annotation):
        return DataForm(DataKind.TABLE, "pyarrow.Table")
    if is_array_type(annotation):
        return DataForm(DataKind.ARRAY, "numpy.ndarray")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            adapter = _adapter(annotation)
            schema = adapter.json_schema(mode="serialization")
    except (pydantic.PydanticUserError, pydantic.PydanticUndefinedAnnotation, UserWarning, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise refused(
            function,
            f"{what} is annotated with {name}, which is neither a pydantic model, a list of models, pyarrow.Table, "
            "numpy.ndarray, "
            f"bytes nor plain JSON ({reason})",
        ) from None
    if what == RESULT and _has_sets(schema):
        raise refused(
            function, f"{what} of type {name} holds a set, whose order differs from run to run; return a list"
        )
    return DataForm(DataKind.TYPED, name, adapter, divisible=_may_be_list(annotation))


def _adapter(annotation: object) -> TypeAdapter[object]:
    """What checks and converts a type.

    Pydantic would write an infinity that has no declared type as null; here it stays, and is refused later. Models
    have a configuration of their own and take no other.
    """
    kind = typing.cast("type[object]", annotation)
    try:
        return TypeAdapter(kind, config=ConfigDict(ser_json_inf_nan="constants"))
    except pydantic.PydanticUserError:
        return TypeAdapter(kind)


def _has_sets(schema: object) -> bool:
    """Whether a JSON schema has a set in it: pydantic marks them by uniqueItems."""
    if isinstance(schema, dict):
        return schema.get("uniqueItems") is True or any(_has_sets(part) for part in schema.values())
    return isinstance(schema, list) and any(_has_sets(part) for part in schema)


def violations_error(error: pydantic.ValidationError, root: str, offset: int = 0) -> ValidationError:
    """The error of the mesh that says what pydantic found: path, expectation and type of each violation, bounded."""
    rows = error.errors(include_url=False, include_context=False)
    violations = tuple(
        (path_of(root, _shifted(row["loc"], offset)), _description(dict(row))) for row in rows[:VIOLATIONS_MAX]
    )
    first, text = violations[0]
    more = f" (and {len(rows) - 1} more)" if len(rows) > 1 else ""
    return ValidationError(f"{first}: {text}{more}", violations=violations, error_context={"total": len(rows)})


def _shifted(parts: tuple[int | str, ...], offset: int) -> tuple[int | str, ...]:
    if offset and parts and isinstance(parts[0], int):
        return (parts[0] + offset, *parts[1:])
    return parts


def path_of(root: str, parts: tuple[int | str, ...]) -> str:
    """A path such as "input_data[3].price"."""
    return root + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)


def json_type(value: object) -> str:
    """The JSON type of a plain value: string, integer, number, boolean, object, array or null."""
    if value is None:
        return "null"
    return _JSON_TYPES.get(type(value)) or type(value).__name__


_JSON_TYPES: dict[type, str] = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    dict: "object",
    list: "array",
    tuple: "array",
}


def _description(row: Mapping[str, object]) -> str:
    if row["type"] == "missing":
        return "is required and missing"
    return f"{row['msg']} (found {json_type(row['input'])})"


def _may_be_list(annotation: object) -> bool:
    origin = typing.get_origin(annotation) or annotation
    if origin is typing.Annotated:
        return _may_be_list(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return any(_may_be_list(part) for part in typing.get_args(annotation))
    if not isinstance(origin, type):
        return True
    return issubclass(origin, list | tuple) or not issubclass(
        origin, BaseModel | str | bytes | bool | int | float | dict | types.NoneType
    )
