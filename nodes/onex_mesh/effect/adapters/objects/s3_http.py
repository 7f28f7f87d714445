"""The HTTP of S3 clients, without redirects: no answer of a server makes the node ask another host."""

from __future__ import annotations

from collections.abc import Awaitable

import aiohttp
from aiobotocore.httpsession import AIOHTTPSession  # type: ignore[import-untyped]  # ships no types


class DirectSession(AIOHTTPSession):  # type: ignore[misc]  # untyped base
    """aiobotocore leaves it to aiohttp whether redirects are followed, and aiohttp follows them, wherever to."""

    async def _get_session(self, proxy_url: str | None) -> _Direct:
        return _Direct(await super()._get_session(proxy_url))


class _Direct:
    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    def request(self, method: str, **parameters: object) -> Awaitable[aiohttp.ClientResponse]:
        parameters["allow_redirects"] = False
        return self._session.request(method, **parameters)  # type: ignore[arg-type]  # passed on as they are
