"""Connections to one mail server: encrypted and logged in as declared, kept for a while, cut when work is given up."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiosmtplib

from onex_mesh.effect.adapters.smtp.answers import SERVICE_CLOSING, smtp_errors
from onex_mesh.effect.core.credentials import Secret
from onex_mesh.effect.core.kinds.smtp import SmtpTarget
from onex_mesh.runtime.errors import EffectFailedError, OnexError, ValidationError

_IDLE_MAX_S = 30.0
_GOODBYE_S = 1.0


@dataclass(slots=True)
class _Open:
    client: aiosmtplib.SMTP
    mails: int = 0
    idle_since: float = 0.0


class Connections:
    """A pool. The target's slots bound how many connections are in use; those that wait are closed after 30 s.

    Raises:
        ValidationError: The file of trusted authorities cannot be read.
    """

    def __init__(self, name: str, target: SmtpTarget, password: Secret | None) -> None:
        self._name = name
        self._target = target
        self._password = password
        self._tls = _tls_context(target)
        self._idle: list[_Open] = []
        self._sweeper: asyncio.TimerHandle | None = None

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[aiosmtplib.SMTP]:
        """A connection; it is kept if the server answered to everything, be it with a refusal.

        Raises:
            TargetUnavailableError: The server cannot be reached now.
            EffectFailedError: It does not offer what the target needs, or refuses the credentials.
        """
        one = await self._take() or _Open(await self._connect())
        try:
            yield one.client
        except OnexError as error:
            if error.error_context.get("smtp_code", SERVICE_CLOSING) != SERVICE_CLOSING:
                await self._keep(one)
            else:
                cut(one.client)
            raise
        except BaseException:
            cut(one.client)
            raise
        await self._keep(one)

    async def close(self) -> None:
        """Says goodbye on all that wait."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        idle, self._idle = self._idle, []
        await asyncio.gather(*(_goodbye(one.client) for one in idle))

    async def _keep(self, one: _Open) -> None:
        one.mails += 1
        if one.client.is_connected and one.mails < self._target.mails_per_connection:
            one.idle_since = time.monotonic()
            self._idle.append(one)
            self._sweep_later()
        else:
            await _goodbye(one.client)

    async def _take(self) -> _Open | None:
        """A connection that waits and still answers."""
        while self._idle:
            one = self._idle.pop()
            try:
                await one.client.rset()
            except (aiosmtplib.SMTPException, OSError):
                # The server has closed it meanwhile; the next one may be well, or a new one is made.
                cut(one.client)
            except BaseException:
                cut(one.client)
                raise
            else:
                return one
        return None

    async def _connect(self) -> aiosmtplib.SMTP:
        target = self._target
        client = aiosmtplib.SMTP(
            hostname=target.host,
            port=target.port,
            local_hostname=target.hello,
            timeout=target.limits.timeout_s,
            use_tls=target.tls == "implicit",
            # Without a word of the server there is no STARTTLS, and no mail: it is asked for by ourselves, below.
            start_tls=False,
            tls_context=self._tls,
        )
        try:
            with smtp_errors(self._name):
                await client.connect()
                await client.ehlo()
                await self._encrypt(client)
                if target.username is not None and self._password is not None:
                    await client.login(target.username, self._password.value)
        except BaseException:
            cut(client)
            raise
        return client

    async def _encrypt(self, client: aiosmtplib.SMTP) -> None:
        offered = client.supports_extension("starttls")
        if self._target.tls == "starttls" and not offered:
            raise EffectFailedError(
                f"mail server {self._name!r} does not offer STARTTLS, which this target requires",
                error_context={"target": self._name},
            )
        if self._target.tls == "starttls" or (self._target.tls == "opportunistic" and offered):
            await client.starttls()
            await client.ehlo()

    def _sweep_later(self) -> None:
        if self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().call_later(_IDLE_MAX_S, self._sweep)

    def _sweep(self) -> None:
        self._sweeper = None
        oldest = time.monotonic() - _IDLE_MAX_S
        for one in [one for one in self._idle if one.idle_since <= oldest]:
            self._idle.remove(one)
            one.client.close()
        if self._idle:
            self._sweep_later()


def cut(client: aiosmtplib.SMTP) -> None:
    """Ends a connection at once: what waits to be written is not sent any more, so a mail under way is not taken."""
    if isinstance(client.transport, asyncio.WriteTransport):
        client.transport.abort()
    client.close()


async def _goodbye(client: aiosmtplib.SMTP) -> None:
    # The server may be gone already; the connection ends in any case.
    with contextlib.suppress(aiosmtplib.SMTPException, OSError, TimeoutError):
        async with asyncio.timeout(_GOODBYE_S):
            await client.quit()
    client.close()


def _tls_context(target: SmtpTarget) -> ssl.SSLContext | None:
    if target.tls == "none":
        return None
    try:
        return ssl.create_default_context(cafile=target.ca_file)
    except (OSError, ssl.SSLError) as error:
        text = f"{target.ca_file} cannot be read, or has no certificate"
        raise ValidationError(f"ca_file: {text}", violations=(("ca_file", text),)) from error
