"""HTTP targets: one pool of connections each."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

import httpcore
import httpx

from onex_mesh.effect.adapters.http.connection import CheckedTransport
from onex_mesh.effect.adapters.http.content import ContentEncodingError, ContentTooLargeError, read_content
from onex_mesh.effect.adapters.http.failures import BROKEN, unreachable
from onex_mesh.effect.adapters.http.headers import call_headers, fixed_headers
from onex_mesh.effect.adapters.http.network import CheckedBackend, Resolver, system_resolver
from onex_mesh.effect.adapters.http.parameters import IDEMPOTENT_METHODS, READING_METHODS, Call, check_call
from onex_mesh.effect.adapters.http.redirects import REDIRECTS_MAX, next_url
from onex_mesh.effect.adapters.http.responses import Answer, refusal, result
from onex_mesh.effect.adapters.http.tls import ssl_context
from onex_mesh.effect.core.kinds.http import HttpTarget
from onex_mesh.effect.core.request import EffectContext, EffectPlan, EffectRequest, EffectValue, Once
from onex_mesh.runtime.errors import EffectFailedError, TargetUnavailableError


class HttpAdapter:
    """See `onex_mesh.effect.ports.TargetAdapter`.

    Raises:
        ValidationError: A credential or a certificate is missing or cannot be used.
    """

    def __init__(
        self,
        name: str,
        target: HttpTarget,
        environment: Mapping[str, str],
        *,
        resolver: Resolver = system_resolver,
    ) -> None:
        self._name = name
        self._target = target
        self._network = CheckedBackend(name, target.address_rules(), resolver)
        self._headers, self._secrets = fixed_headers(name, target, environment)
        context = ssl_context(name, target.tls) if target.base_url.startswith("https:") else None
        # Without httpx's client around it: that would keep cookies from one call to the next, and ask the environment.
        # Nor are there limits for single reads: the engine bounds the whole attempt, an answer that drips included.
        self._transport = CheckedTransport(target, self._network, context)

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
        request = httpx.Request("GET", self._target.base_url + self._target.health_path, headers=self._headers)
        try:
            response = await self._transport.handle_async_request(request)
            await response.aclose()
        except BROKEN as error:
            raise unreachable(self._name, error, may_repeat=True) from error
        if response.status_code >= 500:
            raise TargetUnavailableError(f"{self._name!r} answered {response.status_code}")

    async def stop(self) -> None:
        """Closes the pool."""
        await self._transport.aclose()

    async def _call(self, call: Call, context: EffectContext) -> EffectValue:
        may_repeat = call.method in IDEMPOTENT_METHODS or bool(context.idempotency_key)
        try:
            answer = await self._answer(call, context)
        except BROKEN as error:
            raise unreachable(self._name, error, may_repeat=may_repeat) from error
        except ContentEncodingError as error:
            broken = TargetUnavailableError(
                f"the response of {self._name!r} {error}", error_context={"target": self._name}
            )
            broken.retryable = may_repeat
            raise broken from error
        refused = refusal(
            answer,
            call.rules,
            target=self._name,
            body=self._redacted(answer.text),
            may_repeat=may_repeat,
            retry_after_max_s=self._target.retry_after_max_s,
        )
        if refused is not None:
            raise refused
        return EffectValue(result(answer, call.rules, self._name))

    async def _answer(self, call: Call, context: EffectContext) -> Answer:
        query = f"?{call.query}" if call.query else ""
        url = httpx.URL(f"{self._target.base_url}{call.path}{query}")
        headers = call_headers(self._headers, call, context, self._target)
        for _ in range(REDIRECTS_MAX + 1):
            sent = None if call.body is None else call.body.content
            request = httpx.Request(call.method, url, headers=headers, content=sent)
            response = await self._transport.handle_async_request(request)
            try:
                received = {name.lower(): value for name, value in response.headers.items()}
                there = next_url(self._name, self._target, call.method, url, response.status_code, received)
                content = await self._content(response) if call.method != "HEAD" and there is None else b""
            finally:
                await response.aclose()
            if there is None:
                return Answer(response.status_code, received, content, response.encoding or "utf-8")
            url = there
        raise EffectFailedError(
            f"{self._name!r} answered with more than {REDIRECTS_MAX} redirects", error_context={"target": self._name}
        )

    async def _content(self, response: httpx.Response) -> bytes:
        bound = self._target.limits.size_bytes
        try:
            if int(response.headers.get("content-length", "0")) > bound:
                raise ContentTooLargeError
            return await read_content(response.aiter_raw(), response.headers.get("content-encoding", ""), bound)
        except ContentTooLargeError as error:
            raise EffectFailedError(
                f"the response of {self._name!r} is larger than {bound} bytes",
                error_context={"target": self._name, "status": response.status_code, "size_bytes_max": bound},
            ) from error

    def _redacted(self, text: str) -> str:
        # Some servers repeat the request in their complaint.
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text

    async def _connect(self) -> None:
        parts = urlsplit(self._target.base_url)
        assert parts.hostname is not None
        port = parts.port or (443 if parts.scheme == "https" else 80)
        try:
            stream = await self._network.connect_tcp(parts.hostname, port, self._target.connect_timeout_s)
        except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
            raise TargetUnavailableError(f"{self._name!r} takes no connections") from error
        await stream.aclose()
