"""The contract as the generated stubs hold it: every message, enum and service of the package onex.v1."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FileDescriptor, ServiceDescriptor

ROOT = Path(__file__).resolve().parents[2]
PROTO_FOLDER = ROOT / "proto" / "onex" / "v1"


def files() -> list[FileDescriptor]:
    """The file of every .proto, by name."""
    names = sorted(path.stem for path in PROTO_FOLDER.glob("*.proto"))
    return [importlib.import_module(f"onex.v1.{name}_pb2").DESCRIPTOR for name in names]


def messages() -> dict[str, Descriptor]:
    """Every message by its name below onex.v1, nested ones included, the entries of maps left out."""
    found: dict[str, Descriptor] = {}
    for file in files():
        for descriptor in file.message_types_by_name.values():
            for message in _with_nested(descriptor):
                found[message.full_name.removeprefix("onex.v1.")] = message
    return found


def enums() -> dict[str, EnumDescriptor]:
    """Every enum by its name below onex.v1."""
    found = {name: enum for file in files() for name, enum in file.enum_types_by_name.items()}
    for name, message in messages().items():
        found.update({f"{name}.{enum.name}": enum for enum in message.enum_types})
    return found


def services() -> dict[str, ServiceDescriptor]:
    """Every service by its name below onex.v1."""
    return {name: service for file in files() for name, service in file.services_by_name.items()}


def _with_nested(message: Descriptor) -> Iterator[Descriptor]:
    if message.GetOptions().map_entry:
        return
    yield message
    for nested in message.nested_types:
        yield from _with_nested(nested)
