"""The client of an S3 target, as its operator declares it and not as the environment of the process would have it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, cast

import s3fs  # type: ignore[import-untyped]  # ships no types
from aiobotocore.session import AioSession  # type: ignore[import-untyped]  # likewise
from botocore.exceptions import BotoCoreError  # type: ignore[import-untyped]  # likewise
from botocore.handlers import add_expect_header  # type: ignore[import-untyped]  # likewise

from onex_mesh.effect.adapters.objects.s3 import Client
from onex_mesh.effect.adapters.objects.s3_http import DirectSession
from onex_mesh.effect.core.credentials import read_secret
from onex_mesh.effect.core.kinds.objects import ObjectStoreTarget
from onex_mesh.runtime.errors import ValidationError

_CONNECT_S_MAX = 5.0
# What a client is built from; parsing it takes a moment that no event loop should spend.
_MODELS = ("service-2", "paginators-1", "waiters-2", "endpoint-rule-set-1")


class _Events(Protocol):
    def register(self, event_name: str, handler: object) -> None: ...
    def unregister(self, event_name: str, handler: object) -> None: ...


class _Meta(Protocol):
    events: _Events


class _Opened(Client, Protocol):
    meta: _Meta


class _FileSystem(Protocol):
    async def set_session(self) -> _Opened: ...


async def connect(name: str, target: ObjectStoreTarget, environment: Mapping[str, str]) -> Client:
    """A client; it has not connected yet.

    Raises:
        ValidationError: A credential is missing, or the client cannot be made of what is declared.
    """
    secrets = {
        field: read_secret(name, env, file, environment)
        for field, env, file in (
            ("key", target.access_key_env, target.access_key_file),
            ("secret", target.secret_key_env, target.secret_key_file),
            ("token", target.session_token_env, target.session_token_file),
        )
    }
    _require_file(name, target.ca_file)
    client_settings: dict[str, object] = {"region_name": target.region}
    if target.ca_file is not None:
        client_settings["verify"] = str(target.ca_file)
    try:
        session = await asyncio.to_thread(_session)
        files = s3fs.S3FileSystem(
            asynchronous=True,
            skip_instance_cache=True,
            anon=target.credentials == "anonymous",
            endpoint_url=target.endpoint_url,
            session=session,
            client_kwargs=client_settings,
            config_kwargs=_settings(target),
            **{field: secret.value for field, secret in secrets.items() if secret is not None},
        )
        client = await cast(_FileSystem, files).set_session()
    except (BotoCoreError, ValueError, OSError) as error:
        raise ValidationError(f"target {name!r}: the S3 client cannot be made: {type(error).__name__}") from error
    # Without it a put is one exchange and not two, and does not wait for servers that never say "continue".
    client.meta.events.unregister("before-call.s3", add_expect_header)
    client.meta.events.register("before-call.s3", _stay)
    return client


def _settings(target: ObjectStoreTarget) -> dict[str, object]:
    style = target.addressing_style
    if style == "auto":
        style = "path" if target.endpoint_url else "virtual"
    return {
        "connect_timeout": min(target.limits.timeout_s, _CONNECT_S_MAX),
        "read_timeout": target.limits.timeout_s,
        # Attempts are the machinery's: it knows the budget, the deadline and what may be repeated.
        "retries": {"total_max_attempts": 1, "mode": "standard"},
        # One more than there are calls: a busy target must not look unwell because its check found none free.
        "max_pool_connections": target.limits.concurrency + 1,
        "http_session_cls": DirectSession,
        # Neither proxies nor other endpoints out of the environment.
        "proxies": {},
        "ignore_configured_endpoint_urls": True,
        "s3": {"addressing_style": style},
        # Not every server knows Amazon's newer trailing checksums; puts carry one in a header.
        "request_checksum_calculation": "when_required",
        "response_checksum_validation": "when_required",
    }


def _stay(*, context: Mapping[str, dict[str, object]], **_: object) -> None:
    """Keeps the client from going to another region when a server sends it there: it says "redirected already".

    The operator declares the region. And a server that always sends away would keep the client asking for ever.
    """
    if "s3_redirect" in context:
        context["s3_redirect"]["redirected"] = True


def _session() -> object:
    session = AioSession()
    loader = session.get_component("data_loader")
    for model in _MODELS:
        loader.load_service_model("s3", model)
    for data in ("endpoints", "partitions", "sdk-default-configuration"):
        loader.load_data(data)
    return session


def _require_file(name: str, file: Path | None) -> None:
    if file is not None and not file.is_file():
        raise ValidationError(f"target {name!r}: {file} is not a file", violations=((name, "ca_file"),))
