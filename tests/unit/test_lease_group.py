"""How requests are gathered into groups."""

from __future__ import annotations

import asyncio

import pytest

from onex_lease import OutcomeUnknownError
from onex_lease.group import Collector, Member


class Sender:
    """Notes the groups that it is given, and answers when told to."""

    def __init__(self) -> None:
        self.groups: list[list[bytes]] = []
        self.open = asyncio.Event()
        self.open.set()

    async def send(self, members: list[Member[bytes]]) -> None:
        self.groups.append([member.request for member in members])
        await self.open.wait()
        for member in members:
            if not member.outcome.done():
                member.outcome.set_result(member.request.upper())


async def test_what_waits_travels_together() -> None:
    """What is submitted in one turn of the loop goes in one group, each with its own outcome."""
    sender = Sender()
    collector = Collector(sender.send)
    outcomes = await asyncio.gather(*(collector.submit(name, name.encode()) for name in "abc"))
    assert outcomes == [b"A", b"B", b"C"]
    assert sender.groups == [[b"a", b"b", b"c"]]


async def test_bounds_of_a_group() -> None:
    """Neither more members nor more bytes than allowed; what is too large by itself travels alone."""
    sender = Sender()
    collector = Collector(sender.send, members_max=3, bytes_max=10, in_flight_max=9)
    requests = [b"1", b"2", b"3", b"4", b"five5", b"sixsix", b"x" * 50, b"7"]
    await asyncio.gather(*(collector.submit(request, request) for request in requests))
    assert sender.groups == [[b"1", b"2", b"3"], [b"4", b"five5"], [b"sixsix"], [b"x" * 50], [b"7"]]


async def test_one_name_once_per_group() -> None:
    """Two commits of one workflow never share a request, and keep their order."""
    sender = Sender()
    collector = Collector(sender.send, in_flight_max=1)
    names = ["a", "b", "a", "a", "c"]
    requests = [f"{name}{position}".encode() for position, name in enumerate(names)]
    await asyncio.gather(*(collector.submit(*pair) for pair in zip(names, requests, strict=True)))
    assert sender.groups == [[b"a0", b"b1", b"c4"], [b"a2"], [b"a3"]]


async def test_requests_in_flight_are_bounded() -> None:
    """While as many groups as allowed are under way, what comes waits and gathers."""
    sender = Sender()
    sender.open.clear()
    collector = Collector(sender.send, in_flight_max=2)
    futures = []
    for name in "abcd":
        futures.append(collector.submit(name, name.encode()))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert sender.groups == [[b"a"], [b"b"]]
    sender.open.set()
    assert await asyncio.gather(*futures) == [b"A", b"B", b"C", b"D"]
    assert sender.groups == [[b"a"], [b"b"], [b"c", b"d"]]


async def test_a_cancelled_request_is_not_sent() -> None:
    """A caller that gives up before its turn takes its request along, and disturbs no other."""
    sender = Sender()
    sender.open.clear()
    collector = Collector(sender.send, in_flight_max=1)
    first = collector.submit("a", b"a")
    await asyncio.sleep(0.01)
    second, third = collector.submit("b", b"b"), collector.submit("c", b"c")
    second.cancel()
    first.cancel()
    sender.open.set()
    assert await third == b"C"
    assert sender.groups == [[b"a"], [b"c"]]


async def test_nobody_waits_for_ever() -> None:
    """A fault while sending reaches every member; their outcome is open."""

    async def fail(members: list[Member[bytes]]) -> None:
        raise asyncio.CancelledError

    collector = Collector(fail)
    waiting = [collector.submit(name, b"x") for name in "ab"]
    for outcome in waiting:
        with pytest.raises(OutcomeUnknownError, match="given up"):
            await outcome
