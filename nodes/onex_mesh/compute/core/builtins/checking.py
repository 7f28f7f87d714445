"""validate: rows against a JSON Schema."""

from __future__ import annotations

from itertools import chain, islice
from typing import Literal, cast

from pydantic import Field

from onex_mesh.compute.core.builtins.frame import Params
from onex_mesh.compute.core.chunks import concatenated
from onex_mesh.compute.core.context import ComputeContext
from onex_mesh.compute.core.data import VIOLATIONS_MAX, AnyData
from onex_mesh.compute.core.json_schema import Violation, schema_validator, schema_violations
from onex_mesh.compute.core.partial import Partial
from onex_mesh.runtime.errors import ValidationError


class ValidateParams(Params):
    """What the data must be like, and what happens if it is not."""

    schema_: dict[str, object] = Field(alias="schema", description="JSON Schema of an object, or of each row.")
    violations: Literal["error", "result"] = Field(
        "error", description="Refuse the data, or give back {valid, violations: [{path, message}]}."
    )
    bound: int = Field(VIOLATIONS_MAX, description="How many violations are told at most.", ge=1, le=1000)


def validate_rows(data: AnyData, params: ValidateParams, ctx: ComputeContext) -> object:
    """The data, if it is as the schema says; violations with their paths otherwise."""
    validator = schema_validator(params.schema_, "algorithm_config.parameters.schema")
    found = tuple(islice(schema_violations(validator, data, ctx.offset), params.bound))
    return Partial({"data": data, "found": found}) if ctx.is_chunk else _told(data, found, params)


def merge_checked(partials: list[Partial], params: ValidateParams) -> object:
    """The data of all chunks, or their violations in the order of the rows."""
    found = chain.from_iterable(cast("tuple[Violation, ...]", partial.parts["found"]) for partial in partials)
    return _told(
        concatenated([partial.parts["data"] for partial in partials]), tuple(islice(found, params.bound)), params
    )


def _told(data: object, found: tuple[Violation, ...], params: ValidateParams) -> object:
    if params.violations == "result":
        told = [{"path": path, "message": message} for path, message in found]
        return {"valid": not found, "violations": told}
    if found:
        at, text = found[0]
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise ValidationError(f"{at}: {text}{more}", violations=found)
    return data
