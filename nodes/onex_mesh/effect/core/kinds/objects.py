"""What an operator declares of an object store."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from onex_mesh.effect.core.kinds.file import FILE_OPERATIONS, FileOperationName
from onex_mesh.effect.core.targets import TargetConfig

_SEGMENT = re.compile(r"[A-Za-z0-9!_.*'()=@+-][A-Za-z0-9!_.*'()=@+ -]*")
_PREFIX_CHARS_MAX = 512


class ObjectStoreTarget(TargetConfig):
    """Objects below one prefix of a bucket."""

    effect_types: ClassVar[tuple[str, ...]] = ("file_operation",)

    kind: Literal["object_store"]
    store: Literal["s3", "memory"]
    """s3: any server that speaks S3. memory: in the node's process, gone when it ends; for development."""
    bucket: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]
    prefix: str = ""
    """Folders within the bucket, with slashes between them. No path of a contract leads out."""
    operations: frozenset[FileOperationName] = frozenset(FILE_OPERATIONS)
    """What may be done. Default: everything."""
    endpoint_url: str | None = None
    """http(s)://host[:port] of the server. Default: Amazon's of the region."""
    region: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,64}$")] = "us-east-1"
    addressing_style: Literal["auto", "path", "virtual"] = "auto"
    """path: host/bucket/key; virtual: bucket.host/key; auto: path where an endpoint is given."""
    credentials: Literal["declared", "chain", "anonymous"] = "declared"
    """declared: the keys named below; chain: wherever Amazon's tools look (variables, profile, role of the machine)."""
    access_key_env: str | None = None
    access_key_file: Path | None = None
    secret_key_env: str | None = None
    secret_key_file: Path | None = None
    session_token_env: str | None = None
    session_token_file: Path | None = None
    ca_file: Path | None = None
    """Certificates that the server's is checked against. Default: those of the system."""
    conditional_writes: bool = True
    """False for a store without conditional puts: then appends, and whatever must not overwrite, are refused."""

    @field_validator("prefix")
    @classmethod
    def _within_bucket(cls, value: str) -> str:
        if not value:
            return value
        if value.startswith("/") or value.endswith("/"):
            raise ValueError("begins or ends with a slash; write it as a/b")
        segments = value.split("/")
        if any(segment in ("", ".", "..") for segment in segments):
            raise ValueError("has empty segments, '.' or '..'")
        if len(value) > _PREFIX_CHARS_MAX or not all(_SEGMENT.fullmatch(segment) for segment in segments):
            raise ValueError(f"has other characters than those of plain names, or more than {_PREFIX_CHARS_MAX}")
        return value

    @field_validator("endpoint_url")
    @classmethod
    def _plain_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("is not http://host… or https://host…")
        if parts.username is not None or parts.password is not None:
            raise ValueError("holds credentials; use access_key_env and secret_key_env")
        if parts.query or parts.fragment or parts.path.rstrip("/"):
            raise ValueError("has a path, a query or a fragment")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name in ("access_key", "secret_key", "session_token"):
            if getattr(self, f"{name}_env") and getattr(self, f"{name}_file"):
                raise ValueError(f"{name}_env and {name}_file exclude each other")
        names_keys = [
            bool(self.access_key_env or self.access_key_file),
            bool(self.secret_key_env or self.secret_key_file),
        ]
        names_token = bool(self.session_token_env or self.session_token_file)
        if self.store == "memory":
            if any(names_keys) or names_token or self.endpoint_url or self.ca_file:
                raise ValueError("store: memory has no endpoint and no credentials")
        elif self.credentials == "declared" and not all(names_keys):
            raise ValueError("credentials: name access_key_env (or _file) and secret_key_env (or _file)")
        elif self.credentials != "declared" and (any(names_keys) or names_token):
            raise ValueError(f"credentials: {self.credentials} names no keys")
        return self

    def resolved(self, folder: Path) -> Self:
        """The files, taken from the folder."""
        names = ("access_key_file", "secret_key_file", "session_token_file", "ca_file")
        given = {name: getattr(self, name) for name in names}
        return self.model_copy(update={name: folder / path for name, path in given.items() if path is not None})
