"""What changed between two states, as JSON Patch (RFC 6902); exact, or not at all."""

from __future__ import annotations

import hashlib

import jsonpatch

from onex.v1 import common_pb2
from onex_mesh.runtime.errors import ValidationError
from onex_mesh.runtime.payload import bytes_payload, from_payload, json_payload

PATCH_TYPE = "application/json-patch+json"


def digest_of(state: common_pb2.Payload) -> str:
    """SHA-256 of a state."""
    return hashlib.sha256(state.SerializeToString(deterministic=True)).hexdigest()


def difference(before: common_pb2.Payload, after: common_pb2.Payload) -> common_pb2.Payload | None:
    """The patch that makes one state of the other; None where none does so exactly, or none that is smaller."""
    if before.WhichOneof("content") != "json" or after.WhichOneof("content") != "json":
        return None
    text = jsonpatch.make_patch(from_payload(before), from_payload(after)).to_string()
    patch = bytes_payload(text.encode(), PATCH_TYPE)
    if patch.ByteSize() >= after.ByteSize():
        return None
    try:
        # Checked, not believed: a negative zero, for example, is equal to zero and yet another state.
        applied(before, patch, digest_of(after))
    except ValidationError:
        return None
    return patch


def applied(before: common_pb2.Payload, patch: common_pb2.Payload, digest: str) -> common_pb2.Payload:
    """The state that a patch makes of another.

    Args:
        before: The state that it was made for.
        patch: What changed.
        digest: SHA-256 of the state that has to come out.

    Raises:
        ValidationError: It does not fit that state, or something else comes out.
    """
    try:
        after = json_payload(jsonpatch.apply_patch(from_payload(before), patch.data.decode()))
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException, TypeError, ValueError, LookupError) as error:
        raise ValidationError(f"the patch does not fit the state before it ({type(error).__name__})") from error
    if digest_of(after) != digest:
        raise ValidationError("the patch leads to another state than the one that it was made for")
    return after
