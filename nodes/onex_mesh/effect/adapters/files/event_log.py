"""A file that takes published messages as CloudEvents, one JSON line each, each event once.

It stands in for a broker: whoever wants the events follows the file. The attributes are those of CloudEvents 1.0.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Annotated, TypeVar

import pydantic

from onex_mesh.effect.adapters.files.append import OnceAppends
from onex_mesh.effect.adapters.files.content import require_size
from onex_mesh.effect.adapters.files.root import Root
from onex_mesh.effect.core.custom import refused
from onex_mesh.effect.core.kinds.event_log import EventLogTarget
from onex_mesh.effect.core.request import EffectContext, EffectPlan, EffectRequest, EffectValue, Once
from onex_mesh.runtime.errors import TargetUnavailableError, ValidationError
from onex_mesh.runtime.payload import Json

T = TypeVar("T")


class _Message(pydantic.BaseModel):
    """R90: event_type, data; other fields of the payload, such as ids and a timestamp, belong to the data."""

    model_config = pydantic.ConfigDict(extra="allow", strict=True)

    event_type: Annotated[str, pydantic.Field(min_length=1, max_length=200, pattern=r"^[\x21-\x7e]+$")]
    data: pydantic.JsonValue = None
    subject: Annotated[str, pydantic.Field(max_length=200)] = ""
    timestamp: Annotated[str, pydantic.Field(max_length=64)] = ""


class EventLogAdapter:
    """See `onex_mesh.effect.ports.TargetAdapter`."""

    def __init__(self, name: str, target: EventLogTarget, environment: Mapping[str, str]) -> None:
        self._name = name
        self._target = target
        self._root = Root(name, target.path.parent)
        self._appends = OnceAppends()
        self._appending = asyncio.Lock()
        self._threads = ThreadPoolExecutor(1, thread_name_prefix=f"events-{name}")

    async def start(self) -> None:
        """Creates the folder of the file.

        Raises:
            ValidationError: It cannot be created.
        """
        try:
            await self._in_thread(self._root.ensure)
        except OSError as error:
            raise ValidationError(f"target {self._name!r}: {self._target.path.parent}: {error.strerror}") from error

    def plan(self, request: EffectRequest) -> EffectPlan:
        """Checks the message."""
        try:
            message = _Message.model_validate(request.parameters)
        except pydantic.ValidationError as error:
            raise refused(error, "") from error
        moment = _moment(message.timestamp)
        data = _data(message)
        require_size(len(json.dumps(data)), self._target.limits.size_bytes, message.event_type)

        async def publish(context: EffectContext) -> EffectValue:
            event_id = context.idempotency_key or str(uuid.uuid4())
            event = self._event(message, event_id, moment, data, context)
            async with self._appending:
                is_new = await self._in_thread(lambda: self._append(event, event_id))
            return EffectValue({"event_id": event_id, "event_type": message.event_type}, replayed=not is_new)

        return EffectPlan(run=publish, operation=f"publish {message.event_type}", once=Once.BY_TARGET)

    async def check(self) -> None:
        """Looks whether the folder can be opened."""
        try:
            await self._in_thread(self._look)
        except OSError as error:
            raise TargetUnavailableError(f"the folder of target {self._name!r}: {error.strerror}") from error

    async def stop(self) -> None:
        """Lets the thread end."""
        self._threads.shutdown(wait=False)

    def _event(
        self, message: _Message, event_id: str, moment: str, data: Json, context: EffectContext
    ) -> dict[str, Json]:
        event: dict[str, Json] = {
            "specversion": "1.0",
            "id": event_id,
            "source": self._target.source,
            "type": message.event_type,
            "time": moment or datetime.now(UTC).isoformat(),
            "datacontenttype": "application/json",
        }
        if message.subject:
            event["subject"] = message.subject
        if context.correlation_id:
            event["correlationid"] = context.correlation_id
        # Fields of a protobuf Struct have no order of their own.
        event["data"] = dict(sorted(data.items())) if isinstance(data, dict) else data
        return event

    def _append(self, event: dict[str, Json], event_id: str) -> bool:
        line = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        name = self._target.path.name
        with self._root.errors(name), self._root.folder(()) as folder:
            return self._appends.append(name, name, folder, line, event_id)

    def _look(self) -> None:
        with self._root.folder(()):
            return

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def _data(message: _Message) -> Json:
    """The data; fields of the payload beside it, such as order_id, are part of it."""
    beside: dict[str, Json] = dict(message.model_extra or {})
    if not beside:
        return message.data
    if message.data is None:
        return beside
    if isinstance(message.data, dict):
        return {**beside, **message.data}
    return {**beside, "data": message.data}


def _moment(text: str) -> str:
    if not text:
        return ""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        problem = "is not an ISO 8601 time"
        raise ValidationError(f"timestamp: {problem}", violations=(("timestamp", problem),)) from error
    return moment.isoformat()
