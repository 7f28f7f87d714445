"""Chats, pagers and webhooks as targets."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import structlog

from onex_mesh.effect.adapters.apprise.parameters import Notice, check_notice
from onex_mesh.effect.adapters.apprise.sending import Sent, is_known, keep_log_to_ourselves, send
from onex_mesh.effect.adapters.apprise.templates import NoticeTemplates, RenderedNotice
from onex_mesh.effect.adapters.apprise.threads import Threads
from onex_mesh.effect.core.credentials import Secret, read_secret
from onex_mesh.effect.core.kinds.apprise import AppriseTarget, NoticeService
from onex_mesh.effect.core.request import EffectContext, EffectPlan, EffectRequest, EffectValue, Once
from onex_mesh.runtime.errors import (
    EffectFailedError,
    TargetUnavailableError,
    TemporarilyRefusedError,
    ValidationError,
)
from onex_mesh.runtime.payload import Json

log = structlog.get_logger(__name__)

_HANGING_PER_SLOT = 2
_NO_ANSWER = Sent(False, is_certain=False)


class AppriseAdapter:
    """See `onex_mesh.effect.ports.TargetAdapter`."""

    def __init__(self, name: str, target: AppriseTarget, environment: Mapping[str, str]) -> None:
        keep_log_to_ourselves()
        self._name = name
        self._target = target
        self._urls = {row.name: _url(name, row, environment) for row in target.services}
        try:
            self._templates = NoticeTemplates(target.templates, size_bytes_max=target.limits.size_bytes)
        except ValidationError as error:
            raise ValidationError(f"target {name!r}: {error.message}", violations=error.violations) from error
        self._threads = Threads(name, target.limits.concurrency * len(target.services) * _HANGING_PER_SLOT)

    async def start(self) -> None:
        """Nothing: apprise connects as it sends."""

    def plan(self, request: EffectRequest) -> EffectPlan:
        """Checks services and data, and renders the notice."""
        notice, services = check_notice(request, self._target)
        rendered = self._templates.render(notice.template, notice.data)
        sending = _Sending(self._name, {name: self._urls[name] for name in services}, notice, rendered, self._threads)
        return EffectPlan(
            run=sending.attempt,
            operation=f"notice {notice.template}",
            once=Once.BY_LEDGER,
            settle=sending.settle,
        )

    async def check(self) -> None:
        """Services cannot be asked without sending something; only whether all calls hang is known."""
        if self._threads.are_used_up:
            raise TargetUnavailableError(f"all calls of target {self._name!r} hang")

    async def stop(self) -> None:
        """Nothing: threads that still send end with the process at the latest."""


class _Sending:
    """The attempts at one notice: which services have it, which will not take it, which are left."""

    def __init__(
        self, target: str, urls: Mapping[str, Secret], notice: Notice, rendered: RenderedNotice, threads: Threads
    ) -> None:
        self._target = target
        self._urls = urls
        self._notice = notice
        self._rendered = rendered
        self._threads = threads
        self._under_way: dict[str, asyncio.Future[Sent]] = {}
        self._ended: dict[str, Sent] = {}

    async def attempt(self, context: EffectContext) -> EffectValue:
        """Sends to those that are left. One that is busy with an earlier attempt is waited for, not asked again."""
        left = [name for name in self._urls if not self._is_settled(name)]
        for name in left:
            if name not in self._under_way:
                self._ended[name] = _NO_ANSWER
                self._begin(name)
        await asyncio.wait([self._under_way[name] for name in left if name in self._under_way] or [_nothing()])
        return self._outcome(has_key=bool(context.idempotency_key))

    def settle(self) -> EffectValue | None:
        """What there is to say once no attempt is made any more: None if no service has it."""
        return self._value() if self._delivered() else None

    def _begin(self, name: str) -> None:
        url = self._urls[name]
        future = self._threads.start(lambda: send(url, self._rendered, self._notice.type))
        self._under_way[name] = future
        future.add_done_callback(lambda ended: self._end(name, ended))

    def _end(self, name: str, future: asyncio.Future[Sent]) -> None:
        del self._under_way[name]
        if future.cancelled():
            return
        error = future.exception()
        if error is None:
            self._ended[name] = future.result()
        else:
            # Its text may hold the URL.
            log.warning("apprise raised", target=self._target, service=name, error=type(error).__name__)

    def _is_settled(self, name: str) -> bool:
        sent = self._ended.get(name)
        return sent is not None and name not in self._under_way and not (sent is _NO_ANSWER or sent.is_temporary)

    def _outcome(self, *, has_key: bool) -> EffectValue:
        left = [name for name in self._urls if not self._is_settled(name)]
        delivered = self._delivered()
        if left:
            kind = TemporarilyRefusedError if delivered else TargetUnavailableError
            error = kind(f"services of {self._target!r} {self._words(left)}", error_context=self._facts())
            # What may have been delivered is delivered again only under a key.
            error.retryable = has_key or all(self._ended[name].is_certain for name in left)
            raise error
        if not delivered:
            raise EffectFailedError(
                f"services of {self._target!r} {self._words(self._urls)}", error_context=self._facts()
            )
        return self._value()

    def _delivered(self) -> list[str]:
        return [name for name, sent in self._ended.items() if sent.is_delivered]

    def _failed(self) -> dict[str, str]:
        return {name: sent.words for name, sent in self._ended.items() if not sent.is_delivered}

    def _words(self, names: Sequence[str] | Mapping[str, Secret]) -> str:
        return "; ".join(f"{name}: {self._ended[name].words}" for name in names)

    def _facts(self) -> dict[str, object]:
        facts: dict[str, object] = {"target": self._target, "failed": self._failed()}
        return {**facts, "delivered": delivered} if (delivered := self._delivered()) else facts

    def _value(self) -> EffectValue:
        result: dict[str, Json] = {"delivered": [*self._delivered()]}
        if failed := self._failed():
            result["failed"] = {**failed}
        return EffectValue(result)


def _nothing() -> asyncio.Future[None]:
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    done.set_result(None)
    return done


def _url(target: str, service: NoticeService, environment: Mapping[str, str]) -> Secret:
    url = read_secret(target, service.url_env, service.url_file, environment)
    assert url is not None, "the declaration names a variable or a file"
    if not is_known(url):
        source = service.url_env or service.url_file
        text = f"what {source} holds is not the URL of one service that apprise knows"
        raise ValidationError(f"target {target!r}: {service.name}: {text}", violations=((service.name, text),))
    return url
