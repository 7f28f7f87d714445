"""Several writers do what they like, and the journal stays sound.

A state machine drives writers at random, each with its own session and its own connection through a proxy that loses
answers and requests. A model says what each step must come to; after each run the log is checked.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from onex_lease import (
    EmbeddedEtcd,
    EpochMismatchError,
    EtcdClient,
    Journal,
    Keyspace,
    LeaseConflictError,
    LeaseExpiredError,
    OnexError,
    Ownership,
    Session,
    wire,
)
from tests.lease_writers import copy_of, record, require_sound_log, wait_for_key
from tests.tcp_proxy import TcpProxy

ResultT = TypeVar("ResultT")
NAMES = ("a", "b", "c")
WRITERS = st.sampled_from(NAMES)


@dataclass
class Writer:
    """One writer: what it is connected by, and what it believes to own."""

    proxy: TcpProxy
    client: EtcdClient
    journal: Journal
    session: Session
    ownership: Ownership | None = None


class Journalists(RuleBasedStateMachine):
    """Three writers, one workflow. `holder` and `epoch` are the model."""

    endpoint: str
    loop: asyncio.AbstractEventLoop

    def __init__(self) -> None:
        super().__init__()
        self.keys = Keyspace(f"test-{uuid.uuid4().hex}")
        self.holder: str | None = None
        self.epoch = 0
        self.tokens: list[int] = []
        self.direct: EtcdClient = self.run(EtcdClient.connect(self.endpoint))
        self.writers = {name: self.run(self.new_writer(name)) for name in NAMES}

    def run(self, work: Coroutine[None, None, ResultT]) -> ResultT:
        """Runs in the loop of the test."""
        return self.loop.run_until_complete(asyncio.wait_for(work, 60))

    async def new_writer(self, name: str) -> Writer:
        """A writer with all that is its own."""
        proxy = await TcpProxy(self.endpoint).__aenter__()
        client = await EtcdClient.connect(proxy.endpoint)
        session = await Session.open(client, instance_id=name, ttl_s=60)
        return Writer(proxy, client, Journal(client, self.keys), session)

    @rule(name=WRITERS)
    def acquire(self, name: str) -> None:
        """R131, R132: Acquires if nobody owns it, and is refused if anybody does."""
        writer = self.writers[name]
        if self.holder is not None:
            with pytest.raises(LeaseConflictError) as refused:
                self.run(writer.journal.acquire(writer.session, "w"))
            assert refused.value.error_context["holder"] == self.holder
            return
        ownership = self.run(writer.journal.acquire(writer.session, "w"))
        assert ownership.epoch == self.epoch
        assert ownership.fencing_token > max(self.tokens, default=0)
        self.tokens.append(ownership.fencing_token)
        self.holder, writer.ownership = name, ownership

    @rule(name=WRITERS, final=st.booleans())
    def commit(self, name: str, final: bool) -> None:
        """R140: Commits the next epoch if it owns the workflow."""
        writer = self.writers[name]
        if writer.ownership is not None:
            self.expect_commit(name, writer.journal.commit(writer.ownership, record(), release=final), release=final)

    def expect_commit(self, name: str, work: Coroutine[None, None, int], *, release: bool = False) -> None:
        """The model's word on a commit under what the writer believes to own."""
        if not self.holds(name):
            with pytest.raises(LeaseExpiredError):
                self.run(work)
            return
        self.epoch += 1
        assert self.run(work) == self.epoch
        if release:
            self.holder = None

    def holds(self, name: str) -> bool:
        """Whether a writer's belief is true."""
        ownership = self.writers[name].ownership
        return self.holder == name and ownership is not None and ownership.fencing_token == self.tokens[-1]

    @rule(name=WRITERS)
    def commit_with_a_stale_epoch(self, name: str) -> None:
        """R141: Is refused, by the lease or by the epoch."""
        writer = self.writers[name]
        if writer.ownership is None or writer.ownership.epoch == 0:
            return
        stale = copy_of(writer.ownership)
        stale.epoch -= 1
        expected: type[OnexError] = EpochMismatchError if self.holds(name) else LeaseExpiredError
        with pytest.raises(expected):
            self.run(writer.journal.commit(stale, record(mark="stale")))

    @rule(name=WRITERS)
    def twins_commit(self, name: str) -> None:
        """R143: Of two commits of one epoch at the same time at most one is applied."""
        writer = self.writers[name]
        if writer.ownership is None:
            return

        async def both(mine: Ownership, twin: Ownership) -> list[int | BaseException]:
            commits = (writer.journal.commit(each, record()) for each in (mine, twin))
            return list(await asyncio.gather(*commits, return_exceptions=True))

        twin = copy_of(writer.ownership)
        results = self.run(both(writer.ownership, twin))
        applied = [result for result in results if isinstance(result, int)]
        assert len(applied) == (1 if self.holds(name) else 0)
        assert all(isinstance(result, int | OnexError) for result in results)
        self.epoch += len(applied)
        if applied and isinstance(results[1], int):
            writer.ownership = twin

    @rule(name=WRITERS, applied=st.booleans(), release=st.booleans())
    def commit_and_lose_the_connection(self, name: str, applied: bool, release: bool) -> None:
        """R142: The outcome is the true one, whether the request or its answer was lost."""
        writer = self.writers[name]
        if writer.ownership is None:
            return
        key = self.keys.log("w", writer.ownership.epoch + 1)
        work = writer.journal.commit(writer.ownership, record(mark="lost"), release=release)
        if applied and self.holds(name):
            self.expect_commit(name, self.losing_the_answer(writer, key, work), release=release)
        else:
            writer.proxy.lose_request(key)
            self.expect_commit(name, work, release=release)

    async def losing_the_answer(self, writer: Writer, key: bytes, work: Coroutine[None, None, int]) -> int:
        """Commits through a proxy that forwards the request and cuts once etcd has applied it."""
        writer.proxy.lose_reply_to(key)
        committing = asyncio.create_task(work)
        await writer.proxy.reached.wait()
        await wait_for_key(self.direct, key, lambda row: row is not None)
        writer.proxy.cut()
        return await committing

    @rule(name=WRITERS)
    def release(self, name: str) -> None:
        """R134, F8: Gives up its own ownership, and never another's."""
        writer = self.writers[name]
        if writer.ownership is not None:
            assert self.run(writer.journal.release(writer.ownership)) is self.holds(name)
            if self.holds(name):
                self.holder = None

    @precondition(lambda self: self.holder is not None)
    @rule(heir=WRITERS)
    def expire_and_take_over(self, heir: str) -> None:
        """R136, R145: etcd ends the holder's session; somebody else, or itself anew, acquires; it keeps its belief."""
        assert self.holder is not None
        writer = self.writers[self.holder]
        self.run(self.direct.revoke(writer.session.etcd_lease))
        self.run(writer.session.close())
        writer.session = self.run(Session.open(writer.client, instance_id=self.holder, ttl_s=60))
        self.holder = None
        self.acquire(heir)

    def teardown(self) -> None:
        """After each run: one commit per epoch, no gap, tokens that never fall, an unbroken chain."""
        try:
            assert self.run(require_sound_log(Journal(self.direct, self.keys), "w")) == self.epoch
        finally:
            self.run(self.close())

    async def close(self) -> None:
        """Leaves nothing behind."""
        for writer in self.writers.values():
            await writer.session.close()
            await writer.client.close()
            await writer.proxy.__aexit__(None, None, None)
        await self.direct.close()


def drive(endpoint: str, **options: object) -> None:
    """Runs the machine against an etcd."""
    Journalists.endpoint = endpoint
    with asyncio.Runner() as runner:
        Journalists.loop = runner.get_loop()
        chosen = settings(deadline=None, suppress_health_check=list(HealthCheck), stateful_step_count=25)
        run_state_machine_as_test(Journalists, settings=settings(chosen, **options))


def test_writers_at_random(etcd: EmbeddedEtcd) -> None:
    """F6, R130, R131, R136, R140–R143: Whatever writers do and whatever connections lose, the log stays sound."""
    drive(etcd.endpoint, max_examples=60)


@pytest.mark.parametrize("comparison", ["created_at", "version_is"])
def test_a_missing_fence_is_noticed(etcd: EmbeddedEtcd, monkeypatch: pytest.MonkeyPatch, comparison: str) -> None:
    """R142: Without either of the commit's two comparisons the machine finds a fault: the test above can fail."""
    monkeypatch.setattr(wire, comparison, lambda key, number: b"")
    with pytest.raises((AssertionError, OnexError, pytest.fail.Exception, BaseExceptionGroup)):
        drive(etcd.endpoint, max_examples=60, phases=[Phase.generate], database=None)
