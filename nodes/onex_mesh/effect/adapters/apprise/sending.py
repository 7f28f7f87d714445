"""One notice to one service, in a thread: apprise blocks while it sends.

Apprise tells only whether it worked. What the service answered is in its log, together with what must not be seen;
so the log goes nowhere but here, and only the status is taken from it.
"""

from __future__ import annotations

import logging
import re
import warnings
from contextvars import ContextVar
from dataclasses import dataclass

import apprise

from onex_mesh.effect.adapters.apprise.templates import RenderedNotice
from onex_mesh.effect.core.credentials import Secret

_STATUS = re.compile(r"\berror=([1-5][0-9]{2})\b")
# What urllib3 says where no connection came about.
_NOT_CONNECTED = re.compile(r"NewConnectionError|NameResolutionError|ConnectTimeoutError|Failed to resolve")
_PASSING = frozenset({408, 425, 429})
_NOT_DONE = frozenset({429, 503})
"""With these a service says that it has done nothing."""


@dataclass(slots=True)
class _Heard:
    """What the log of one sending said."""

    status: int = 0
    not_connected: bool = False


@dataclass(frozen=True, slots=True)
class Sent:
    """How it went."""

    is_delivered: bool
    status: int = 0
    """HTTP status of the refusal; 0 where there was none, or the service speaks another protocol."""
    is_certain: bool = True
    """Whether nothing can have been delivered, where it was not."""

    @property
    def is_temporary(self) -> bool:
        """Whether trying again may help."""
        return not self.is_delivered and (self.status == 0 or self.status in _PASSING or self.status >= 500)

    @property
    def words(self) -> str:
        """For people; nothing that the service said, which could repeat its URL."""
        if self.status:
            return f"answered {self.status}"
        return "cannot be reached" if self.is_certain else "did not take it"


_heard: ContextVar[_Heard | None] = ContextVar("onex_apprise_heard", default=None)


class _Listener(logging.Handler):
    """Takes the status out of the log of the sending that runs in this thread."""

    def emit(self, record: logging.LogRecord) -> None:
        """Looks at one line."""
        heard = _heard.get()
        if heard is None:
            return
        line = record.getMessage()
        if found := _STATUS.search(line):
            heard.status = int(found[1])
        if _NOT_CONNECTED.search(line):
            heard.not_connected = True


def keep_log_to_ourselves() -> None:
    """From now on nothing of apprise's log goes anywhere: it has URLs and bodies in it."""
    log = logging.getLogger("apprise")
    log.propagate = False
    log.setLevel(logging.DEBUG)
    if not any(isinstance(handler, _Listener) for handler in log.handlers):
        log.addHandler(_Listener())
    # It writes down the paths of webhooks.
    logging.getLogger("urllib3").setLevel(logging.WARNING)


def is_known(url: Secret) -> bool:
    """Whether apprise can make one service of a URL."""
    with warnings.catch_warnings():
        # The first one loads all of apprise's services, with what they use of old Python.
        warnings.simplefilter("ignore", DeprecationWarning)
        return len(url.value.split()) == 1 and len(_open(url)) == 1


def send(url: Secret, notice: RenderedNotice, kind: str) -> Sent:
    """Sends; blocks until the service has answered or apprise gives it up."""
    heard = _Heard()
    token = _heard.set(heard)
    try:
        # A new one each time: they are not made for several threads.
        delivered = bool(
            _open(url).notify(
                body=notice.body,
                title=notice.title,
                notify_type=apprise.NotifyType(kind),
                body_format=apprise.NotifyFormat.MARKDOWN if notice.is_markdown else apprise.NotifyFormat.TEXT,
            )
        )
    finally:
        _heard.reset(token)
    if delivered:
        return Sent(True)
    return Sent(False, heard.status, heard.not_connected or heard.status in _NOT_DONE)


def _open(url: Secret) -> apprise.Apprise:
    asset = apprise.AppriseAsset(
        app_id="onex-mesh",
        app_desc="onex-mesh",
        app_url="",
        # In the thread that we started, without another limit than the target's.
        async_mode=False,
        service_timeout=0,
        # A redirect would carry the credential to another host.
        http_redirects=False,
        interpret_escapes=False,
        interpret_emojis=False,
        storage_mode="memory",
    )
    opened = apprise.Apprise(asset=asset)
    opened.add(url.value)
    return opened
