"""Parameters of cache operations, a model for each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import pydantic

from onex_mesh.effect.core.kinds.redis_cache import Lifetime

ITEMS_MAX = 1_000

Format = Literal["text", "json", "base64"]
"""How a value is returned."""

_Items = pydantic.Field(min_length=1, max_length=ITEMS_MAX)


class Parameters(pydantic.BaseModel):
    """What all operations have in common: nothing is converted, nothing unknown is taken."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True)


class OneKey(Parameters):
    """An operation on one key."""

    key: str


class SetValue(OneKey):
    """`value`: text as it is, everything else as JSON; or bytes in the contract's body."""

    value: pydantic.JsonValue = None
    ttl_s: Lifetime | None = None


class Delete(Parameters):
    """One key, or several."""

    key: str | None = None
    keys: Annotated[list[str], _Items] | None = None


class Expire(OneKey):
    """A lifetime from now, or an instant (ISO 8601)."""

    ttl_s: Lifetime | None = None
    at: str | None = None


class SetFields(OneKey):
    """Fields of a hash and their values."""

    fields: Annotated[dict[str, pydantic.JsonValue], _Items]
    ttl_s: Lifetime | None = None


class DeleteFields(OneKey):
    """Fields of a hash."""

    fields: Annotated[list[str], _Items]


class AddMembers(OneKey):
    """Members of a set."""

    members: Annotated[list[pydantic.JsonValue], _Items]
    ttl_s: Lifetime | None = None


class RemoveMembers(OneKey):
    """Members of a set."""

    members: Annotated[list[pydantic.JsonValue], _Items]


class Get(OneKey):
    """A value, or the members of a set."""

    format: Format = "text"


class GetField(OneKey):
    """A field of a hash."""

    field: str
    format: Format = "text"


MODELS: Mapping[str, type[Parameters]] = {
    "set": SetValue,
    "delete": Delete,
    "expire": Expire,
    "hset": SetFields,
    "hdel": DeleteFields,
    "sadd": AddMembers,
    "srem": RemoveMembers,
    "get": Get,
    "hget": GetField,
    "smembers": Get,
}
"""The model of each operation."""
