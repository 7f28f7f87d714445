"""The shell of direct calls that ask for a transaction: load → reduce → commit → backup (R59–R63).

Only direct calls come here. Inside of a workflow the state comes with the action and the orchestrator commits it, so
nothing is written twice.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from weakref import WeakValueDictionary

from onex.v1 import common_pb2, reducer_pb2
from onex_mesh.reducer.copies import BACKUP_FOLDER, Copies
from onex_mesh.reducer.core.maker import maker_of
from onex_mesh.reducer.core.outputs import Output, failed, fill, joined, outputs_of, shortened, state_of
from onex_mesh.reducer.core.transaction import Part, check_transaction, parts_of
from onex_mesh.reducer.ports import Answer, Change, Clock, KeptState, StateName, States, TransactionError
from onex_mesh.reducer.reduction import Origin, Reductions
from onex_mesh.runtime.errors import OnexError, StateConflictError, StateConsistencyError, ValidationError, to_proto
from onex_mesh.runtime.payload_store import PayloadStore, require_folder

ATTEMPTS_MAX = 20
"""How often a call is reduced, where other calls change its states meanwhile."""
_PAUSE_S_MIN, _PAUSE_S_MAX = 0.002, 0.2


@dataclass(frozen=True, slots=True)
class _Call:
    """One call.

    Attributes:
        contract: What was asked for.
        origin: Where it came from; the same in every attempt.
        parts: Its reductions, each with its state; the contract's own first.
    """

    contract: reducer_pb2.ReducerContract
    origin: Origin
    parts: Sequence[tuple[Part, StateName]]

    @classmethod
    def of(cls, contract: reducer_pb2.ReducerContract, origin: Origin) -> _Call:
        """The call, under an action id of its own where it brings none: no two calls have the same intents."""
        origin = replace(origin.of(contract), action_id=contract.action_id or str(uuid.uuid4()))
        parts = [(part, StateName(origin.correlation_id, part.state_key)) for part in parts_of(contract)]
        return cls(contract, origin, parts)

    def digest(self) -> bytes:
        """SHA-256 of the contract."""
        return hashlib.sha256(self.contract.SerializeToString(deterministic=True)).digest()


@dataclass(frozen=True, slots=True)
class _Written:
    """What one reduction of a call came to.

    Attributes:
        output: What it returned; a part of the output of the call.
        name: Its state.
        before: As it was loaded.
        after: As it was committed; of a call that was answered from its record, as it is now.
    """

    output: Output
    name: StateName
    before: KeptState
    after: KeptState


class KeptReductions:
    """Runs reductions on states that the node keeps.

    Args:
        reductions: Runs the reduction itself.
        states: Keeps the states.
        clock: When a state was made.
        backups: Takes the copies; None where no payload store is configured.
    """

    def __init__(
        self, reductions: Reductions, states: States, clock: Clock, backups: PayloadStore | None = None
    ) -> None:
        self._reductions = reductions
        self._states = states
        self._clock = clock
        self._copies = None if backups is None else Copies(backups, states)
        self._turns: WeakValueDictionary[StateName, asyncio.Lock] = WeakValueDictionary()

    async def reduce(self, contract: reducer_pb2.ReducerContract, origin: Origin) -> reducer_pb2.ReducerOutput:
        """Loads the states, reduces, and commits what they become; the output tells the epochs (R64, R65).

        Where another call changed one of them meanwhile, it is done again from the new ones: a reduction is pure, so
        that comes to the same as if the calls had come one after the other. A call whose action id was committed
        before is answered as it was then. After the commit copies are made where the contract asks for them (R61).

        Raises:
            OnexError: A reduction is refused or failed: nothing was written.
            StateConsistencyError: A state was made by another reducer: nothing was written.
            TransactionError: Other calls were faster each time: nothing was written.
            OutcomeUnknownError: etcd's answer was lost: it may have been written.
        """
        check_transaction(contract)
        self._check_backup(contract)
        call = _Call.of(contract, origin)
        async with self._in_turn([name for _, name in call.parts]):
            output, written = await self._settled(call)
        if contract.HasField("backup_config"):
            await asyncio.gather(*(self._copy(each, contract.backup_config) for each in written))
        return output

    def _check_backup(self, contract: reducer_pb2.ReducerContract) -> None:
        """Whatever can be refused about the copies is refused before anything is written."""
        if not contract.HasField("backup_config"):
            return
        if self._copies is None:
            text = "no payload store is configured: set ONEX_PAYLOAD_STORE"
            raise ValidationError(f"backup_config: {text}", violations=(("backup_config", text),))
        require_folder(contract.backup_config.backup_location or BACKUP_FOLDER)

    @asynccontextmanager
    async def _in_turn(self, names: Sequence[StateName]) -> AsyncIterator[None]:
        """Calls on one state in one node wait for each other instead of reducing in vain."""
        async with AsyncExitStack() as stack:
            # In one order everywhere, so that no two wait for each other.
            for name in sorted(names):
                lock = self._turns.setdefault(name, asyncio.Lock())
                await stack.enter_async_context(lock)
            yield

    async def _settled(self, call: _Call) -> tuple[reducer_pb2.ReducerOutput, list[_Written]]:
        attempt = 0
        while True:
            attempt += 1
            # Each time: the call that was faster may have been the same one.
            answered = await self._answered(call)
            if answered is not None:
                return answered
            try:
                return await self._committed(call)
            except TransactionError:
                if attempt == ATTEMPTS_MAX:
                    raise
            longest_s = min(_PAUSE_S_MAX, _PAUSE_S_MIN * 2**attempt)
            await asyncio.sleep(random.uniform(_PAUSE_S_MIN, longest_s))  # noqa: S311 - no secret

    async def _answered(self, call: _Call) -> tuple[reducer_pb2.ReducerOutput, list[_Written]] | None:
        """What the call was answered when it was committed; None if it was not."""
        if not call.contract.action_id:
            return None
        answer = await self._states.answer(call.parts[0][1], call.contract.action_id)
        if answer is None:
            return None
        if answer.contract_digest != call.digest():
            text = f"{answer.action_id!r} was committed by a call with another contract"
            raise ValidationError(f"action_id: {text}", violations=(("action_id", text),))
        output = answer.output
        output.replayed = True
        written = []
        for each, (_, name) in zip(outputs_of(output), call.parts, strict=True):
            if each.HasField("error"):
                continue
            now = await self._states.load(name)
            if now.epoch == each.state_metadata.epoch:
                fill(each, now.record.state)
            written.append(_Written(each, name, now, now))
        return output, written

    async def _committed(self, call: _Call) -> tuple[reducer_pb2.ReducerOutput, list[_Written]]:
        kept = await asyncio.gather(*(self._states.load(name) for _, name in call.parts))
        outputs = await self._outputs(call, kept)
        whole, commit_id = joined(outputs), str(uuid.uuid4())
        changes, written = [], []
        for output, (part, name), before in zip(outputs_of(whole), call.parts, kept, strict=True):
            if output.HasField("error"):
                changes.append(Change(name, before, None))
                continue
            output.state_metadata.epoch = before.epoch + 1
            record = self._record(call, part, output, commit_id)
            changes.append(Change(name, before, record))
            written.append(_Written(output, name, before, KeptState(before.epoch + 1, record)))
        answer = None
        if call.contract.action_id:
            answer = Answer(call.parts[0][1], call.contract.action_id, call.digest(), shortened(whole))
        await self._states.commit(changes, answer)
        return whole, written

    async def _outputs(self, call: _Call, kept: Sequence[KeptState]) -> list[reducer_pb2.ReducerOutput]:
        """What each reduction returns; one that fails ends the call, unless the others may be committed without it."""
        outputs: list[reducer_pb2.ReducerOutput] = []
        errors: list[OnexError] = []
        for (part, name), before in zip(call.parts, kept, strict=True):
            try:
                outputs.append(await self._reduced(call, part, name, before))
            except OnexError as error:
                errors.append(part.told(error))
                if not call.contract.transaction_config.commit_partially:
                    raise
                outputs.append(failed(call.origin.correlation_id, part.state_key, error))
        if len(errors) == len(outputs):
            raise errors[0]
        return outputs

    async def _reduced(self, call: _Call, part: Part, name: StateName, before: KeptState) -> reducer_pb2.ReducerOutput:
        _require_maker(part.contract.reduction_config, name, before)
        loaded = reducer_pb2.ReducerContract()
        loaded.CopyFrom(part.contract)
        if before.epoch:
            loaded.current_state.CopyFrom(before.record.state)
        return await self._reductions.reduce(
            loaded, replace(call.origin, action_id=part.action_id(call.origin.action_id))
        )

    def _record(self, call: _Call, part: Part, output: Output, commit_id: str) -> reducer_pb2.BackupRecord:
        config = part.contract.reduction_config
        record = reducer_pb2.BackupRecord(
            correlation_id=call.origin.correlation_id,
            state=state_of(output),
            metadata={
                "maker": maker_of(config),
                "version": config.version,
                "transition": output.state_metadata.transition,
                "action_id": call.origin.action_id,
                "commit_id": commit_id,
            },
        )
        record.timestamp.FromDatetime(self._clock())
        return record

    async def _copy(self, written: _Written, config: reducer_pb2.BackupConfig) -> None:
        assert self._copies is not None
        output, epoch = written.output, written.output.state_metadata.epoch
        if written.after.epoch == epoch:
            output.backup.CopyFrom(await self._copies.make(written.name, written.before, written.after, config))
            return
        text = f"The state is at epoch {written.after.epoch} by now: whether epoch {epoch} was copied is not known."
        error = StateConflictError(text, error_context={"state_key": written.name.state_key})
        output.backup.error.CopyFrom(to_proto(error, node_kind=common_pb2.NODE_KIND_REDUCER))


def _require_maker(config: reducer_pb2.ReductionConfig, name: StateName, kept: KeptState) -> None:
    made_by = kept.record.metadata.get("maker", "")
    if kept.epoch and made_by != maker_of(config):
        raise StateConsistencyError(
            f"The state {name.state_key!r} was made by {made_by!r}, not by {maker_of(config)!r}.",
            error_context={"state_key": name.state_key, "epoch": kept.epoch},
        )
