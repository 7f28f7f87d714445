"""Resolving templates whose inputs may lie in the payload store: what they look into is fetched before."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Protocol, TypeVar

from onex.v1 import common_pb2
from onex_mesh.runtime.errors import ValidationError
from onex_mesh.runtime.payload import JSON_TYPE, json_payload, parse_json
from onex_mesh.runtime.payloads import Payloads
from onex_mesh.runtime.scope import Path, Scope
from onex_mesh.runtime.templates import RESOLVED_BYTES_MAX

_Resolved_co = TypeVar("_Resolved_co", covariant=True)


class Template(Protocol[_Resolved_co]):
    """A command or a value with templates in it."""

    @property
    def opens(self) -> frozenset[Path]:
        """The input and the outputs that it may look into."""

    def resolve(self, scope: Scope) -> _Resolved_co:
        """It with the templates replaced."""


async def resolved(template: Template[_Resolved_co], scope: Scope, payloads: Payloads) -> _Resolved_co:
    """A template's value. What it looks into is fetched, and it is then resolved in a thread: it may be large.

    Raises:
        ValidationError: An expression fails, or nothing is at a location, or something else.
        DependencyResolutionError: The payload store is away, or there is none; trying again may help.
        PayloadTooLargeError: It comes to more than 16 MiB, or what it looks into does.
    """
    paths = scope.stored(template.opens)
    if not paths:
        return template.resolve(scope)
    # The maps of the scope grow while this one is read in a thread.
    taken = replace(scope, steps=dict(scope.steps), statuses=dict(scope.statuses))
    left = RESOLVED_BYTES_MAX
    fetched: dict[Path, common_pb2.Payload] = {}
    for path in paths:
        whole = taken.whole(path)
        assert whole is not None
        fetched[path] = await payloads.fetch(whole, ".".join(map(str, path)), left)
        left -= len(fetched[path].data)

    def resolve() -> _Resolved_co:
        contents = {path: _readable(payload) for path, payload in fetched.items()}
        return template.resolve(replace(taken, contents=contents))

    return await asyncio.to_thread(resolve)


def _readable(payload: common_pb2.Payload) -> common_pb2.Payload:
    """A content with its JSON in the form that paths are followed through; bytes, and what has none, as they are."""
    if payload.content_type != JSON_TYPE:
        return payload
    try:
        return json_payload(parse_json(payload.data))
    except ValidationError:
        # Not JSON, or with integers beyond ±2^53: the expression that reads it says so, or gets by.
        return payload
