"""Data against a JSON Schema (draft 2020-12, unless the schema names another): all violations with their paths."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from jsonschema.exceptions import SchemaError
from jsonschema.protocols import Validator
from jsonschema.validators import Draft202012Validator, validator_for
from referencing import Registry

from onex_mesh.compute.core.data import path_of
from onex_mesh.runtime.errors import ValidationError

Violation = tuple[str, str]

_TEXT_MAX = 300


def schema_validator(schema: Mapping[str, object], at: str) -> Validator:
    """What checks data against a schema. References lead into the schema itself only: nothing is fetched.

    Raises:
        ValidationError: It is no JSON Schema; `at` says where it stands.
    """
    kind = validator_for(schema, default=Draft202012Validator)
    try:
        kind.check_schema(dict(schema))
    except SchemaError as error:
        where = path_of(at, tuple(error.absolute_path))
        raise ValidationError(
            f"{where}: not JSON Schema: {error.message[:_TEXT_MAX]}", violations=((where, error.message[:_TEXT_MAX]),)
        ) from error
    return kind(dict(schema), registry=Registry(), format_checker=kind.FORMAT_CHECKER)


def schema_violations(validator: Validator, value: object, root: str) -> Iterator[Violation]:
    """Path and text of each violation in a value."""
    for error in validator.iter_errors(value):  # type: ignore[arg-type]  # JSON, which is what it takes
        yield path_of(root, tuple(error.absolute_path)), error.message[:_TEXT_MAX]
