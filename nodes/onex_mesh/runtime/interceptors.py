"""What happens around every call: correlation id, deadline, bound on concurrent calls, error table, metrics."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import NoReturn, TypeAlias, TypeVar, cast
from urllib.parse import quote

import grpc
import structlog
from google.protobuf.message import Message

from onex_mesh.runtime.call import CallContext
from onex_mesh.runtime.errors import ActionExpiredError, InternalError, OnexError, OverloadedError, to_status
from onex_mesh.runtime.metrics import CANCELLED, Metrics

log = structlog.get_logger(__name__)

CORRELATION_KEY = "x-correlation-id"
_CORRELATION_CHARS_MAX = 200
_DETAILS_KEY = "grpc-status-details-bin"
_END = object()

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")
_Unary: TypeAlias = Callable[[object, CallContext], Awaitable[object]]
_Stream: TypeAlias = Callable[[object, CallContext], AsyncIterator[object]]

# Endless by nature, or the probes' own: neither a deadline nor the bound applies.
_UNBOUNDED = ("/grpc.health.v1.Health/", "/grpc.reflection.", "/onex.v1.ActionService/Dispatch")
_ENDLESS = ("/onex.v1.OrchestratorService/WatchWorkflow", "/onex.v1.EventService/Subscribe")


class CallInterceptor(grpc.aio.ServerInterceptor):
    """See the module.

    Args:
        metrics: Where calls are counted.
        node: Name of the instance, for error details.
        deadline_s: Deadline of a call that comes without one.
        calls_max: Most calls under way at once; one more is OVERLOADED.
    """

    def __init__(self, metrics: Metrics, *, node: str, deadline_s: float, calls_max: int) -> None:
        self._metrics = metrics
        self._node = node
        self._deadline_s = deadline_s
        self._calls_max = calls_max
        self._finite = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def wait_idle(self) -> None:
        """Returns when no call is under way, those aside that are endless by nature."""
        await self._idle.wait()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[_Request, _Response] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[_Request, _Response] | None:
        """Wraps the handler of one call."""
        handler = await continuation(handler_call_details)
        method = str(handler_call_details.method)
        if handler is None or method.startswith(_UNBOUNDED[:2]):
            return handler
        given = _given_correlation_id(handler_call_details)
        call = _Call(self, method, given)
        deserialize, serialize = handler.request_deserializer, handler.response_serializer
        if handler.response_streaming:
            stream = cast("_Stream", handler.stream_stream if handler.request_streaming else handler.unary_stream)
            streaming = (
                grpc.stream_stream_rpc_method_handler
                if handler.request_streaming
                else grpc.unary_stream_rpc_method_handler
            )
            return cast(
                "grpc.RpcMethodHandler[_Request, _Response]", streaming(call.streaming(stream), deserialize, serialize)
            )
        unary = cast("_Unary", handler.stream_unary if handler.request_streaming else handler.unary_unary)
        single = (
            grpc.stream_unary_rpc_method_handler if handler.request_streaming else grpc.unary_unary_rpc_method_handler
        )
        return cast("grpc.RpcMethodHandler[_Request, _Response]", single(call.single(unary), deserialize, serialize))

    def enter(self, method: str) -> None:
        """Counts a call in.

        Raises:
            OverloadedError: The bound is reached.
        """
        if method.startswith(_UNBOUNDED):
            return
        if self._metrics.in_flight >= self._calls_max:
            self._metrics.refused()
            raise OverloadedError(f"{self._metrics.in_flight} calls are under way; that is the bound")
        self._metrics.entered()
        if method not in _ENDLESS:
            self._finite += 1
            self._idle.clear()

    def leave(self, method: str, began: float, error_type: str, *, entered: bool) -> None:
        """Counts a call out; one that was refused at the door too, as an error."""
        if entered and not method.startswith(_UNBOUNDED):
            self._metrics.left()
            if method not in _ENDLESS:
                self._finite -= 1
                if not self._finite:
                    self._idle.set()
        self._metrics.observe(method.rsplit("/", 1)[-1], time.monotonic() - began, error_type)

    def deadline_of(self, method: str, context: CallContext) -> float | None:
        """Seconds that a call has; None for those that are endless by nature."""
        remaining = context.time_remaining()
        if remaining is not None:
            return float(remaining)
        return None if method.startswith(_UNBOUNDED) or method in _ENDLESS else self._deadline_s

    async def abort(self, context: CallContext, error: OnexError, correlation_id: str) -> NoReturn:
        """Ends a call with the status of an error."""
        error.correlation_id = error.correlation_id or correlation_id
        status = to_status(error, node=self._node)
        context.set_trailing_metadata(
            ((_DETAILS_KEY, status.SerializeToString()), (CORRELATION_KEY, _as_header(correlation_id)))
        )
        await context.abort(_CODES[status.code], status.message)
        raise AssertionError("abort always raises")


class _Call:
    """One call on its way through."""

    def __init__(self, owner: CallInterceptor, method: str, correlation_id: str) -> None:
        self._owner = owner
        self._method = method
        self._given = correlation_id

    def single(self, inner: _Unary) -> _Unary:
        """Wraps a handler that answers once."""

        async def handle(request: object, context: CallContext) -> object:
            began = time.monotonic()
            correlation_id = self._begin(request)
            error_type = CANCELLED
            entered = False
            limit = asyncio.timeout(None)
            try:
                self._owner.enter(self._method)
                entered = True
                # With the status, not ahead of the answer: that would be a message of its own.
                context.set_trailing_metadata(((CORRELATION_KEY, _as_header(correlation_id)),))
                limit = asyncio.timeout(self._owner.deadline_of(self._method, context))
                async with limit:
                    response = await inner(request, context)
                error_type = ""
                return response
            except grpc.aio.AbortError:
                error_type = "ABORTED"
                raise
            except (Exception, SystemExit) as error:  # noqa: BLE001  # the border: nothing unexpected may reach clients
                known = self._known(error, is_late=limit.expired())
                error_type = known.reason
                await self._owner.abort(context, known, correlation_id)
            finally:
                self._owner.leave(self._method, began, error_type, entered=entered)

        return handle

    def streaming(self, inner: _Stream) -> _Stream:
        """Wraps a handler that answers with a stream."""

        async def handle(request: object, context: CallContext) -> AsyncIterator[object]:
            began = time.monotonic()
            correlation_id = self._begin(request)
            error_type = CANCELLED
            entered = False
            responses: AsyncIterator[object] | None = None
            limit = asyncio.timeout(None)
            try:
                self._owner.enter(self._method)
                entered = True
                await context.send_initial_metadata(((CORRELATION_KEY, _as_header(correlation_id)),))
                limit_s = self._owner.deadline_of(self._method, context)
                responses = inner(request, context)
                if limit_s is None:
                    async for response in responses:
                        yield response
                else:
                    ends_at = asyncio.get_running_loop().time() + limit_s
                    while True:
                        # Not around the loop: a timeout must not span a yield.
                        limit = asyncio.timeout_at(ends_at)
                        async with limit:
                            response = await anext(responses, _END)
                        if response is _END:
                            break
                        yield response
                error_type = ""
            except grpc.aio.AbortError:
                error_type = "ABORTED"
                raise
            except (Exception, SystemExit) as error:  # noqa: BLE001  # the border: nothing unexpected may reach clients
                known = self._known(error, is_late=limit.expired())
                error_type = known.reason
                await self._owner.abort(context, known, correlation_id)
            finally:
                # Where the client went away between two responses, the handler waits at its yield and would not know.
                if isinstance(responses, AsyncGenerator):
                    await responses.aclose()
                self._owner.leave(self._method, began, error_type, entered=entered)

        return handle

    def _begin(self, request: object) -> str:
        """The call's correlation id: the caller's, the contract's, or a new one; bound to the log lines of the call."""
        correlation_id = self._given or _correlation_id_in(request) or str(uuid.uuid4())
        structlog.contextvars.bind_contextvars(correlation_id=correlation_id)
        _fill_in(request, correlation_id)
        return correlation_id

    def _known(self, error: Exception | SystemExit, *, is_late: bool) -> OnexError:
        if isinstance(error, OnexError):
            log.info("a call was refused", method=self._method, reason=error.reason, why=error.message)
            return error
        if isinstance(error, TimeoutError) and is_late:
            return ActionExpiredError("the call did not end before its deadline")
        log.error("a call failed unexpectedly", method=self._method, exc_info=error)
        return InternalError("something unexpected happened; the node's log has it under the correlation id")


_CODES = {code.value[0]: code for code in grpc.StatusCode}


def _given_correlation_id(details: grpc.HandlerCallDetails) -> str:
    for key, value in details.invocation_metadata or ():
        if key == CORRELATION_KEY:
            text = value if isinstance(value, str) else value.decode(errors="replace")
            return text[:_CORRELATION_CHARS_MAX]
    return ""


def _as_header(correlation_id: str) -> str:
    """The id as metadata can carry it: what is not printable ASCII is percent-encoded, and it is bounded."""
    text = correlation_id[:_CORRELATION_CHARS_MAX]
    return text if text.isascii() and text.isprintable() else quote(text, safe=" ")


def _carrier(request: object) -> Message | None:
    """The part of a request that has a correlation id: itself, its contract or its action."""
    if not isinstance(request, Message):
        return None
    fields = request.DESCRIPTOR.fields_by_name
    if "correlation_id" in fields:
        return request
    for name in ("contract", "action", "event"):
        if name in fields and request.HasField(name):
            inner = getattr(request, name)
            if "correlation_id" in inner.DESCRIPTOR.fields_by_name:
                assert isinstance(inner, Message)
                return inner
    return None


def _correlation_id_in(request: object) -> str:
    carrier = _carrier(request)
    return str(getattr(carrier, "correlation_id", "")) if carrier is not None else ""


def _fill_in(request: object, correlation_id: str) -> None:
    carrier = _carrier(request)
    if carrier is not None and not getattr(carrier, "correlation_id", ""):
        carrier.correlation_id = correlation_id  # type: ignore[attr-defined]  # the descriptor says that it is there
