"""Group commit: requests that wait while others are under way travel together, each with its own outcome.

etcd serialises everything through one log, so a request per commit is bound by the round trip and by the work per
request. Transactions nested in one request share both. See docs/adr/0004-group-commit.md.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from onex_lease import wire
from onex_lease.errors import EtcdRejectedError, OutcomeUnknownError

if TYPE_CHECKING:
    from onex_lease.client import EtcdClient
    from onex_lease.messages import TxnResponse

IN_FLIGHT_MAX = 1
# etcd allows 128 operations: the members, plus those of the largest member.
MEMBERS_MAX = 60
# Its limit is 1.5 MiB. A single member may be larger than this, then it travels alone.
GROUP_BYTES_MAX = 1024 * 1024

# Refusals for something within the request. The others (no space, too many requests) would meet every member.
_FAULTS_OF_A_MEMBER = frozenset({"NOT_FOUND", "INVALID_ARGUMENT"})

ResultT = TypeVar("ResultT")


@dataclass(slots=True, eq=False)
class Member(Generic[ResultT]):
    """A request that waits: what it asks for, and where its outcome goes.

    Attributes:
        exclusive: Members of the same name never share a group.
        request: What to send.
        outcome: Is given the result or the error.
    """

    exclusive: object
    request: bytes
    outcome: asyncio.Future[ResultT]


Send = Callable[[list[Member[ResultT]]], Awaitable[None]]


class Collector(Generic[ResultT]):
    """Gathers members and sends them in groups, a few groups at a time.

    Args:
        send: Sends one group and settles every member's outcome.
        in_flight_max: Groups under way at the same time.
        members_max: Members of a group.
        bytes_max: Size of a group, unless one member alone is larger.
    """

    def __init__(
        self,
        send: Send[ResultT],
        *,
        in_flight_max: int = IN_FLIGHT_MAX,
        members_max: int = MEMBERS_MAX,
        bytes_max: int = GROUP_BYTES_MAX,
    ) -> None:
        self._send = send
        self._in_flight_max = in_flight_max
        self._members_max = members_max
        self._bytes_max = bytes_max
        self._waiting: deque[Member[ResultT]] = deque()
        self._sending: set[asyncio.Task[None]] = set()
        self._scheduled = False

    def submit(self, exclusive: object, request: bytes) -> asyncio.Future[ResultT]:
        """Queues a request; its outcome is that of the returned future. A cancelled one is not sent if there is time.

        Args:
            exclusive: Requests of the same name never share a group.
            request: What to send.
        """
        loop = asyncio.get_running_loop()
        member: Member[ResultT] = Member(exclusive, request, loop.create_future())
        self._waiting.append(member)
        if not self._scheduled and len(self._sending) < self._in_flight_max:
            # Not at once: what is submitted in the same turn of the loop goes together.
            self._scheduled = True
            loop.call_soon(self._flush)
        return member.outcome

    def _flush(self) -> None:
        self._scheduled = False
        while len(self._sending) < self._in_flight_max:
            members = self._take()
            if not members:
                return
            task = asyncio.get_running_loop().create_task(self._deliver(members))
            self._sending.add(task)
            task.add_done_callback(self._delivered)

    def _delivered(self, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        if self._waiting and not self._scheduled:
            self._flush()

    def _take(self) -> list[Member[ResultT]]:
        waiting = self._waiting
        members: list[Member[ResultT]] = []
        names: set[object] = set()
        kept: list[Member[ResultT]] = []
        size_bytes = 0
        while waiting and len(members) < self._members_max:
            member = waiting[0]
            if members and size_bytes + len(member.request) > self._bytes_max:
                break
            waiting.popleft()
            if member.outcome.done():
                continue
            if member.exclusive in names:
                kept.append(member)
                continue
            names.add(member.exclusive)
            members.append(member)
            size_bytes += len(member.request)
        waiting.extendleft(reversed(kept))
        return members

    async def _deliver(self, members: list[Member[ResultT]]) -> None:
        try:
            await self._send(members)
        except BaseException as error:
            # Of a fault of this program, or the end of the loop: nobody may wait for ever.
            for member in members:
                if not member.outcome.done():
                    member.outcome.set_exception(OutcomeUnknownError(f"The request was given up: {error!r}"))
            if not isinstance(error, asyncio.CancelledError):
                raise


@dataclass(slots=True)
class Outcome:
    """What became of one transaction.

    Attributes:
        result: Its answer.
        revision: etcd's revision when it ran; of its writes, if it wrote.
        revision_before: The newest revision that was known when it was sent.
    """

    result: TxnResponse
    revision: int
    revision_before: int


@dataclass(slots=True)
class TransactionGroup:
    """Sends transactions in groups.

    Attributes:
        client: Connection to etcd.
        revision: The newest revision that an answer has shown.
    """

    client: EtcdClient
    in_flight_max: int = IN_FLIGHT_MAX
    members_max: int = MEMBERS_MAX
    revision: int = 0
    _collector: Collector[Outcome] = field(init=False)

    def __post_init__(self) -> None:
        self._collector = Collector(
            self._send, in_flight_max=self.in_flight_max, members_max=self.members_max, bytes_max=GROUP_BYTES_MAX
        )

    def submit(self, exclusive: str, request: bytes) -> asyncio.Future[Outcome]:
        """Queues a transaction.

        Args:
            exclusive: Transactions that write the same keys carry the same name, and never share a request.
            request: Encoded TxnRequest (`onex_lease.wire`).

        Returns:
            Its own outcome: EtcdRejectedError if it was refused, OutcomeUnknownError if the answer was lost.
        """
        return self._collector.submit(exclusive, request)

    async def _send(self, members: list[Member[Outcome]]) -> None:
        if len(members) == 1:
            await self._send_alone(members[0])
            return
        before = self.revision
        try:
            response = await self.client.txn(wire.group([member.request for member in members]))
        except EtcdRejectedError as error:
            # One bad member, such as one whose session is over, gets the whole group refused.
            one_may_be_bad = error.code in _FAULTS_OF_A_MEMBER
            for member in members:
                if one_may_be_bad:
                    await self._send_alone(member)
                elif not member.outcome.done():
                    member.outcome.set_exception(EtcdRejectedError(error.message, code=error.code))
            return
        except OutcomeUnknownError as error:
            for member in members:
                if not member.outcome.done():
                    # Each its own: an exception that several raise would collect all their tracebacks.
                    copy = OutcomeUnknownError(error.message, error_context=error.error_context)
                    member.outcome.set_exception(copy)
            return
        revision = response.header.revision
        self._saw(revision)
        for member, part in zip(members, response.responses, strict=True):
            if not member.outcome.done():
                member.outcome.set_result(Outcome(part.response_txn, revision, before))

    async def _send_alone(self, member: Member[Outcome]) -> None:
        if member.outcome.done():
            return
        before = self.revision
        try:
            response = await self.client.txn(member.request)
        except (EtcdRejectedError, OutcomeUnknownError) as error:
            if not member.outcome.done():
                member.outcome.set_exception(error)
            return
        self._saw(response.header.revision)
        if not member.outcome.done():
            member.outcome.set_result(Outcome(response, response.header.revision, before))

    def _saw(self, revision: int) -> None:
        self.revision = max(self.revision, revision)
