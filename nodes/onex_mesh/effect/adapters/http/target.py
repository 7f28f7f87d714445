"""HTTP targets: one pool of connections each."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from urllib.parse import urlsplit

import httpx

from onex_mesh.effect.adapters.http.parameters import IDEMPOTENT_METHODS, READING_METHODS, Call, check_call, header_text
from onex_mesh.effect.adapters.http.responses import refusal, result
from onex_mesh.effect.core.credentials import read_secret
from onex_mesh.effect.core.kinds.http import HttpTarget
from onex_mesh.effect.core.request import EffectContext, EffectPlan, EffectRequest, EffectValue, Once
from onex_mesh.runtime.errors import EffectFailedError, TargetUnavailableError, ValidationError

_UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class HttpAdapter:
    """See `onex_mesh.effect.ports.TargetAdapter`."""

    def __init__(self, name: str, target: HttpTarget, environment: Mapping[str, str]) -> None:
        self._name = name
        self._target = target
        self._secrets: list[str] = []
        self._client = httpx.AsyncClient(
            headers=self._fixed_headers(environment),
            timeout=httpx.Timeout(target.limits.timeout_s),
            # One more than there are calls: a busy target must not look unwell because its check found none free.
            limits=httpx.Limits(
                max_connections=target.limits.concurrency + 1, max_keepalive_connections=target.limits.concurrency
            ),
            follow_redirects=False,
            trust_env=False,
        )

    async def start(self) -> None:
        """Nothing: connections are made as they are needed."""

    def plan(self, request: EffectRequest) -> EffectPlan:
        """Checks method, path, query, headers and body against what the target lists."""
        call = check_call(request, self._target)
        reads = call.method in READING_METHODS
        return EffectPlan(
            run=lambda context: self._call(call, context),
            operation=call.method,
            once=Once.NOT_NEEDED if reads else Once.BY_LEDGER,
            is_read=reads,
            is_idempotent=call.method in IDEMPOTENT_METHODS,
        )

    async def check(self) -> None:
        """Asks for the health path, or just connects."""
        if self._target.health_path is None:
            await self._connect()
            return
        try:
            response = await self._client.get(self._target.base_url + self._target.health_path)
        except httpx.HTTPError as error:
            raise TargetUnavailableError(f"{self._name!r} cannot be reached: {type(error).__name__}") from error
        if response.status_code >= 500:
            raise TargetUnavailableError(f"{self._name!r} answered {response.status_code}")

    async def stop(self) -> None:
        """Closes the pool."""
        await self._client.aclose()

    async def _call(self, call: Call, context: EffectContext) -> EffectValue:
        may_repeat = call.method in IDEMPOTENT_METHODS or bool(context.idempotency_key)
        request = self._client.build_request(
            call.method,
            self._target.base_url + call.path,
            params=list(call.query) or None,
            headers=self._headers(call, context),
            content=call.body,
        )
        try:
            response = await self._client.send(request, stream=True)
            try:
                content = await self._content(response)
            finally:
                await response.aclose()
        except _UNSENT as error:
            raise self._unreachable(error, may_repeat=True) from error
        except httpx.HTTPError as error:
            raise self._unreachable(error, may_repeat=may_repeat) from error
        headers = {name.lower(): value for name, value in response.headers.items()}
        encoding = response.encoding or "utf-8"
        refused = refusal(
            response.status_code,
            headers,
            self._redacted(content.decode(encoding, errors="replace")) if not response.is_success else "",
            target=self._name,
            may_repeat=may_repeat,
            retry_after_max_s=self._target.retry_after_max_s,
        )
        if refused is not None:
            raise refused
        return EffectValue(result(response.status_code, headers, content, encoding))

    async def _content(self, response: httpx.Response) -> bytes:
        bound = self._target.limits.size_bytes
        content = bytearray()
        async for chunk in response.aiter_bytes():
            content += chunk
            if len(content) > bound:
                raise EffectFailedError(
                    f"the response of {self._name!r} is larger than {bound} bytes",
                    error_context={"target": self._name, "status": response.status_code, "size_bytes_max": bound},
                )
        return bytes(content)

    def _headers(self, call: Call, context: EffectContext) -> list[tuple[str, str]]:
        headers = list(call.headers)
        if call.body is not None and not any(name.lower() == "content-type" for name, _ in headers):
            headers.append(("content-type", call.body_type))
        if context.correlation_id:
            headers.append(("x-correlation-id", header_text(context.correlation_id)))
        if context.idempotency_key and call.method not in READING_METHODS:
            headers.append(("idempotency-key", context.idempotency_key))
        return headers

    def _fixed_headers(self, environment: Mapping[str, str]) -> dict[str, str]:
        target = self._target
        # Compressed bodies could grow beyond any bound while they are unpacked.
        headers = {"user-agent": "onex-mesh", "accept-encoding": "identity", **target.headers}
        token = read_secret(self._name, target.bearer_token_env, target.bearer_token_file, environment)
        if token is not None:
            headers["authorization"] = f"Bearer {token.value}"
            self._secrets.append(token.value)
        for header, variable in target.header_env.items():
            secret = read_secret(self._name, variable, None, environment)
            assert secret is not None
            headers[header] = secret.value
            self._secrets.append(secret.value)
        for header, value in headers.items():
            if not value.isascii() or not value.isprintable():
                text = "the value is not visible ASCII"
                raise ValidationError(f"target {self._name!r}: headers.{header}: {text}", violations=((header, text),))
        return headers

    def _redacted(self, text: str) -> str:
        # Some servers repeat the request in their complaint.
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text

    def _unreachable(self, error: httpx.HTTPError, *, may_repeat: bool) -> TargetUnavailableError:
        unavailable = TargetUnavailableError(
            f"{self._name!r} cannot be reached or broke off: {type(error).__name__}",
            error_context={"target": self._name},
        )
        unavailable.retryable = may_repeat
        return unavailable

    async def _connect(self) -> None:
        parts = urlsplit(self._target.base_url)
        assert parts.hostname is not None
        try:
            _, writer = await asyncio.open_connection(
                parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
            )
        except OSError as error:
            raise TargetUnavailableError(f"{self._name!r} takes no connections") from error
        writer.close()
        try:
            await writer.wait_closed()
        except OSError:
            # It had taken the connection; how it ends does not matter.
            return
