"""Runs one workflow: the impure shell around the machine. It leases, dispatches, commits and keeps time.

One task per workflow. Results of actions come in as events; after each batch of events the machine decides again. The
order of a round is what makes it durable: pure steps are handed out at once, then one transaction commits what is known
and what is about to happen, and only then do effects leave the mesh.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from onex.v1 import action_pb2, common_pb2, intent_pb2, workflow_pb2
from onex_lease import Ownership, Session
from onex_mesh.orchestrator.core import actions, machine, records
from onex_mesh.orchestrator.core.draft import Draft, first_state, start_record
from onex_mesh.orchestrator.core.plan import Plan, PlannedStep
from onex_mesh.orchestrator.fetching import Fetching
from onex_mesh.orchestrator.ports import ActionDispatcher, WorkflowJournal
from onex_mesh.runtime import errors
from onex_mesh.runtime.payloads import Payloads
from onex_mesh.runtime.resolving import resolved

log = structlog.get_logger(__name__)

_FENCED = frozenset(("LEASE_EXPIRED", "LEASE_INVALID", "EPOCH_MISMATCH"))
_ETCD_RETRY_S = 0.2
_STORE_RETRY_S = 1.0


class OwnershipLostError(Exception):
    """The workflow belongs to somebody else now, or to nobody; this runner must not touch it any more."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a workflow ended."""

    contract: workflow_pb2.OrchestratorContract
    state: workflow_pb2.WorkflowState
    epoch: int
    lease_id: str
    result: workflow_pb2.OrchestrationResult


@dataclass(frozen=True, slots=True)
class Services:
    """What runners share."""

    journal: WorkflowJournal
    dispatcher: ActionDispatcher
    session: Callable[[], Session]
    address: str
    payloads: Payloads


@dataclass(slots=True)
class Handed:
    """An action that was handed out."""

    steps: tuple[int, ...]
    """Those whose outputs are still to come."""
    record: action_pb2.ActionRecord
    intents: bool = False


class WorkflowRunner:
    """Runs one workflow from where it stands to its end."""

    def __init__(
        self,
        services: Services,
        plan: Plan,
        contract: workflow_pb2.OrchestratorContract,
        *,
        start_action_id: str,
        ownership: Ownership | None = None,
        state: workflow_pb2.WorkflowState | None = None,
        recovered: records.Recovered | None = None,
    ) -> None:
        """A runner of a new workflow, or of one taken over (then with ownership, state and recovered)."""
        self._services = services
        self._plan = plan
        self._contract = contract
        self._start_action_id = start_action_id
        self._ownership = ownership
        self._results = recovered.results if recovered is not None else records.Results()
        self._inputs = actions.Inputs(plan, contract, self._results)
        self._due: dict[int, list[intent_pb2.Intent]] = {}
        self._began = time.monotonic()
        if state is not None:
            committed = records.read_progress(state)
            self._progress = machine.recover(records.forget_omitted(plan, committed, self._results))
            self._draft = Draft(plan, state, committed)
            for step_id, intents in recovered.due.items() if recovered is not None else ():
                self._due[plan.index_of[step_id]] = list(intents)
        else:
            self._progress = machine.begin(plan)
            self._draft = Draft(plan, first_state(plan, contract, start_action_id, time.time()), None)
        self._handed: dict[str, Handed] = {}
        self._inbox: list[action_pb2.ActionResult] = []
        self._wake = asyncio.Event()
        self._fetching = Fetching(self._inputs, services.payloads, self._wake.set)
        self._stop: machine.Stopped | None = None
        loop = asyncio.get_running_loop()
        self.started: asyncio.Future[int] = loop.create_future()
        """The epoch of the first commit by this runner, once it is made."""

    @property
    def workflow_id(self) -> str:
        """The workflow."""
        return self._contract.workflow_id

    async def run(self) -> Outcome:
        """Runs the workflow to its end.

        Raises:
            OwnershipLostError: The lease is over; somebody else will go on from the last commit.
            WorkflowExistsError: There is a workflow of that id already.
            LeaseConflictError: Somebody else owns that id.
        """
        try:
            while True:
                outcome = await self._round()
                if outcome is not None:
                    return outcome
        except BaseException as error:
            if not self.started.done():
                self.started.set_exception(error if isinstance(error, Exception) else OwnershipLostError())
                self.started.exception()  # whoever waits for it sees it; nobody has to
            raise
        finally:
            # Somebody else goes on from the last commit. What has begun is left to end: an effect that is cancelled
            # half way is worse than one whose result the next owner gets by its idempotency key.
            for action_id in self._handed:
                self._services.dispatcher.forget(action_id)
            self._fetching.close()

    def stop(self, stopped: machine.Stopped) -> None:
        """Ends the workflow early, with the next commit."""
        self._stop = stopped
        self._wake.set()

    async def _round(self) -> Outcome | None:
        self._wake.clear()
        await self._take_in()
        now = time.time()
        decision = machine.decide(self._plan, self._progress, now)
        if decision.finished:
            return await self._finish()
        if self._ownership is not None and decision.pure:
            for group in decision.pure:
                self._hand_out_pure(group, now)
            if self._inbox:
                return None
        leaving = [self._hand_out_effect(step, now) for step in decision.effects if self._is_ready(step)]
        leaving += [self._hand_out_intents(step, now) for step in decision.intents]
        if leaving or self._ownership is None or self._draft.is_due:
            await self._commit()
            for action, service_name in filter(None, leaving):
                self._send(action, service_name)
            return None
        await self._wait(decision.wake_at, now)
        return None

    async def _wait(self, wake_at: float | None, now: float) -> None:
        deadline = self._deadline()
        until = min((at for at in (wake_at, deadline) if at is not None), default=None)
        if until is None:
            await self._wake.wait()
            return
        try:
            async with asyncio.timeout(max(until - now, 0.0)):
                await self._wake.wait()
        except TimeoutError:
            self._wake.set()

    def _deadline(self) -> float | None:
        if not self._plan.timeout_s:
            return None
        return records.instant(self._draft.state.started_at) + self._plan.timeout_s

    # Events

    async def _take_in(self) -> None:
        inbox, self._inbox = self._inbox, []
        for result in inbox:
            if result.status == action_pb2.ACTION_STATUS_IN_PROGRESS:
                under_way = self._handed.get(result.action_id)
                if under_way is not None:
                    self._take_outputs(under_way, result)
                continue
            handed = self._handed.pop(result.action_id, None)
            if handed is not None:
                await self._take_result(handed, result)
        deadline = self._deadline()
        if self._stop is None and deadline is not None and time.time() >= deadline:
            error = errors.ActionExpiredError(
                f"the workflow did not end within {self._plan.timeout_s:g} s",
                correlation_id=self._contract.correlation_id,
            )
            message = errors.to_proto(error, node_kind=common_pb2.NODE_KIND_ORCHESTRATOR)
            self._stop = machine.Stopped(workflow_pb2.WORKFLOW_STATUS_ABORTED, message)
        if self._stop is not None:
            self._evolve(self._stop)

    async def _take_result(self, handed: Handed, result: action_pb2.ActionResult) -> None:
        handed.record.status = result.status
        handed.record.executed_by = result.executed_by
        if result.HasField("error"):
            await self._require_ownership(result.error)
        if handed.intents:
            self._intents_done(handed.steps[0], result)
            return
        self._take_outputs(handed, result)
        rest = handed.steps
        # A node may report the failing link of a chain as an output of its own, or leave it to the error.
        reported = any(output.HasField("error") for output in result.outputs)
        if result.HasField("error") and rest and not reported:
            self._step_failed(rest[0], result.error, result.executed_by)
            rest = rest[1:]
        if rest:
            self._evolve(machine.NotReached(rest))

    def _take_outputs(self, handed: Handed, result: action_pb2.ActionResult) -> None:
        """Takes in what is new: a chain tells what it has done as it goes, and all of it at its end."""
        for output in result.outputs:
            index = self._plan.index_of.get(output.step_id, -1)
            if index in handed.steps:
                handed.steps = tuple(step for step in handed.steps if step != index)
                self._step_done(index, output, result.executed_by)

    async def _require_ownership(self, error: common_pb2.OnexError) -> None:
        """A node that refuses our lease may be right: ask etcd, and stop if it is (F1)."""
        if error.reason not in _FENCED or self._ownership is None:
            return
        own = self._ownership
        try:
            await self._services.journal.check(own.workflow_id, own.lease_id, own.fencing_token, own.epoch)
        except (errors.LeaseExpiredError, errors.LeaseInvalidError, errors.EpochMismatchError) as refused:
            raise OwnershipLostError(refused.message) from refused
        # etcd says that we own it: the node's view was behind. Trying again will do.
        error.retryable = True

    def _step_done(self, index: int, output: action_pb2.StepOutput, executed_by: str) -> None:
        step = self._plan.steps[index]
        failure = output.error if output.HasField("error") else actions.too_large(output, step)
        if failure is not None:
            self._step_failed(index, failure, executed_by)
            return
        attempts = self._progress.steps[index].attempts
        status = workflow_pb2.STEP_STATUS_COMPLETED
        emitted: list[intent_pb2.Intent] = []
        if output.HasField("reduction"):
            emitted = actions.emitted_intents(step, output, self._contract.correlation_id)
            self._draft.state.reducer_states[step.state_key].CopyFrom(actions.reducer_state(step, output))
            if emitted:
                status = workflow_pb2.STEP_STATUS_EXECUTING_INTENTS
                self._due[index] = emitted
                self._draft.add_intents(emitted)
        result = actions.step_result(output, status, attempts, executed_by)
        if result.HasField("result"):
            self._inputs.add(step.step_id, result.result)
        self._keep(result, actions.work_s(output))
        self._evolve(machine.Succeeded(index, has_intents=bool(emitted)))

    def _step_failed(
        self,
        index: int,
        error: common_pb2.OnexError,
        executed_by: str,
        intent_results: Sequence[intent_pb2.IntentResult] = (),
    ) -> None:
        error.correlation_id = error.correlation_id or self._contract.correlation_id
        chance = random.random()  # noqa: S311  # spreads retries, guards nothing
        self._evolve(machine.Failed(index, error, time.time(), chance))
        after = self._progress.steps[index]
        if after.status == workflow_pb2.STEP_STATUS_SKIPPED:
            self._inputs.skip(self._plan.steps[index].step_id)
        self._keep(
            workflow_pb2.StepResult(
                step_id=self._plan.steps[index].step_id,
                status=after.status,
                attempts=after.attempts,
                error=error,
                executed_by=executed_by,
                intent_results=intent_results,
                effect=actions.failed_effect_record(error),
            )
        )

    def _intents_done(self, index: int, result: action_pb2.ActionResult) -> None:
        step = self._plan.steps[index]
        rows = result.outputs[0].intents.results if result.outputs else []
        error = result.error if result.HasField("error") else actions.failed_intent(rows)
        if not result.outputs and error is None:
            error = errors.to_proto(
                errors.InternalError("the node returned no results"), node_kind=common_pb2.NODE_KIND_EFFECT
            )
        attempts = self._progress.steps[index].attempts
        done = {row.intent_id for row in rows if row.status == intent_pb2.INTENT_STATUS_COMPLETED}
        self._due[index] = [intent for intent in self._due[index] if intent.intent_id not in done]
        if error is not None:
            self._step_failed(index, error, result.executed_by, rows)
            return
        self._keep(
            workflow_pb2.StepResult(
                step_id=step.step_id,
                status=workflow_pb2.STEP_STATUS_COMPLETED,
                attempts=attempts,
                intent_results=rows,
            )
        )
        self._evolve(machine.IntentsExecuted(index))

    def _evolve(self, event: machine.Event) -> None:
        self._progress = machine.evolve(self._plan, self._progress, event)

    def _keep(self, result: workflow_pb2.StepResult, work_s: float = 0.0) -> None:
        self._results.add(result)
        self._draft.add_result(result, work_s)

    # Handing out

    def _issuer(self, epoch: int) -> actions.Issuer:
        own = self._ownership
        return actions.Issuer(
            workflow_id=self.workflow_id,
            correlation_id=self._contract.correlation_id,
            name=self._plan.name,
            start_action_id=self._start_action_id,
            lease_id=own.lease_id if own is not None else "",
            fencing_token=own.fencing_token if own is not None else 0,
            epoch=epoch,
        )

    def _epoch(self) -> int:
        return self._ownership.epoch if self._ownership is not None else 0

    def _hand_out_pure(self, group: tuple[int, ...], now: float) -> None:
        steps = [self._plan.steps[i] for i in group]
        command = self._inputs.chain(steps) if len(steps) > 1 else None
        if command is None:
            group, steps = group[:1], steps[:1]
            if not self._is_ready(group[0]):
                return
        self._evolve(machine.Dispatched(group))
        try:
            if command is None:
                command = self._command(steps[0])
        except errors.OnexError as error:
            self._step_failed(group[0], _own_error(error), "")
            self._wake.set()
            return
        attempt = self._progress.steps[group[0]].attempts
        action, record = actions.task(self._issuer(self._epoch()), steps, attempt, command, now)
        self._remember(record, group)
        self._send(action, steps[0].service_name)

    def _hand_out_effect(self, index: int, now: float) -> tuple[action_pb2.Action, str] | None:
        step = self._plan.steps[index]
        self._evolve(machine.Dispatched((index,)))
        try:
            command = self._command(step)
        except errors.OnexError as error:
            self._step_failed(index, _own_error(error), "")
            return None
        attempt = self._progress.steps[index].attempts
        action, record = actions.task(self._issuer(self._epoch() + 1), [step], attempt, command, now)
        self._remember(record, (index,))
        return action, step.service_name

    def _is_ready(self, index: int) -> bool:
        """Whether a step's command can be made; what it takes is fetched otherwise, and the round comes again."""
        return self._fetching.is_ready(self._plan.steps[index])

    def _command(self, step: PlannedStep) -> action_pb2.Command:
        states = self._draft.state.reducer_states
        fetched = self._fetching.take(step)
        return self._inputs.command(step, states) if fetched is None else actions.continued(fetched, step, states)

    def _hand_out_intents(self, index: int, now: float) -> tuple[action_pb2.Action, str]:
        step = self._plan.steps[index]
        self._evolve(machine.IntentsDispatched(index))
        command = action_pb2.Command(intents=intent_pb2.IntentBatch(intents=self._due.get(index, [])))
        attempt = self._progress.steps[index].attempts
        action, record = actions.task(self._issuer(self._epoch() + 1), [step], attempt, command, now, part="intents")
        self._remember(record, (index,), intents=True)
        return action, ""

    def _remember(self, record: action_pb2.ActionRecord, steps: tuple[int, ...], *, intents: bool = False) -> None:
        self._handed[record.action.action_id] = Handed(steps, record, intents)
        self._draft.add_action(record)

    def _send(self, action: action_pb2.Action, service_name: str) -> None:
        own = self._ownership
        assert own is not None
        if action.action_id not in self._handed:
            return
        # The first effects are issued before the lease is there: its proof is filled in now.
        action.lease_id = own.lease_id
        action.fencing_token = own.fencing_token
        self._services.dispatcher.submit(action, service_name, self._on_result)

    def _on_result(self, result: action_pb2.ActionResult) -> None:
        self._inbox.append(result)
        self._wake.set()

    def _give_up_handed(self) -> None:
        """Cancels what is still under way: siblings of a step that aborted the workflow (R109)."""
        for action_id, handed in self._handed.items():
            handed.record.status = action_pb2.ACTION_STATUS_CANCELLED
            self._services.dispatcher.cancel(action_id)
        self._handed.clear()

    # Committing

    async def _commit(self, output: common_pb2.Payload | None = None) -> None:
        """Commits what is known. An etcd that is away is waited for as long as the session lasts."""
        record = self._record(output)
        final = self._progress.final
        while True:
            try:
                if self._ownership is None:
                    self._ownership = await self._services.journal.start(
                        self._services.session(), record, address=self._services.address, final=final
                    )
                else:
                    await self._services.journal.commit(self._ownership, record, final=final)
                break
            except errors.EtcdUnavailableError as error:
                log.warning(
                    "etcd does not take a commit, trying again", workflow_id=self.workflow_id, why=error.message
                )
                self._require_session()
                await asyncio.sleep(_ETCD_RETRY_S)
            except (errors.LeaseExpiredError, errors.LeaseInvalidError) as error:
                raise OwnershipLostError(error.message) from error
            except (errors.EpochMismatchError, errors.StateConflictError) as error:
                raise OwnershipLostError(error.message) from error
            except errors.PayloadTooLargeError as error:
                if output is None and not record.results and not record.intents:
                    raise
                record, output, final = self._give_up(error), None, True
        self._draft.committed(self._progress)
        if not self.started.done():
            self.started.set_result(self._ownership.epoch)

    def _require_session(self) -> None:
        try:
            self._services.session().require_valid()
        except errors.LeaseExpiredError as error:
            raise OwnershipLostError(error.message) from error

    def _record(self, output: common_pb2.Payload | None) -> workflow_pb2.Commit:
        now = time.time()
        worked_s = time.monotonic() - self._began
        record = self._draft.sealed(self._progress, self._epoch() + 1, now=now, worked_s=worked_s, output=output)
        if self._ownership is None:
            record.contract.CopyFrom(self._contract)
            record.actions.insert(0, start_record(self._contract, self._start_action_id, now))
        return record

    def _give_up(self, error: errors.PayloadTooLargeError) -> workflow_pb2.Commit:
        """What cannot be committed cannot go on: aborts the workflow with a record that fits."""
        message = _own_error(error)
        self._progress = machine.evolve(
            self._plan,
            _reopened(self._progress),
            machine.Stopped(workflow_pb2.WORKFLOW_STATUS_ABORTED, message),
        )
        return self._record(None)

    async def _finish(self) -> Outcome:
        self._give_up_handed()
        output: common_pb2.Payload | None = None
        if self._progress.status == workflow_pb2.WORKFLOW_STATUS_COMPLETED:
            try:
                output = await self._output()
            except errors.OnexError as error:
                stopped = machine.Stopped(workflow_pb2.WORKFLOW_STATUS_ABORTED, _own_error(error))
                self._progress = machine.evolve(self._plan, _reopened(self._progress), stopped)
        await self._commit(output)
        assert self._ownership is not None
        if self._progress.status != workflow_pb2.WORKFLOW_STATUS_COMPLETED:
            output = None
        return Outcome(
            contract=self._contract,
            state=self._draft.state,
            epoch=self._ownership.epoch,
            lease_id=self._ownership.lease_id,
            result=records.orchestration_result(self._contract, self._draft.state, self._results, output),
        )

    async def _output(self) -> common_pb2.Payload | None:
        """The workflow's output. A payload store that is away is waited for, until the workflow's deadline."""
        template, payloads = self._plan.output, self._services.payloads
        while True:
            try:
                if template is None:
                    return self._inputs.last_output()
                return await payloads.fit(await resolved(template, self._inputs.scope(None), payloads))
            except errors.DependencyResolutionError as error:
                deadline = self._deadline()
                if not payloads.is_configured or (deadline is not None and time.time() >= deadline):
                    raise
                self._require_session()
                log.warning("the output of a workflow waits", workflow_id=self.workflow_id, why=error.message)
                await asyncio.sleep(_STORE_RETRY_S)


def _own_error(error: errors.OnexError) -> common_pb2.OnexError:
    return errors.to_proto(error, node_kind=common_pb2.NODE_KIND_ORCHESTRATOR)


def _reopened(progress: machine.Progress) -> machine.Progress:
    """The progress as if it had not ended, so that it can end in another way before anything is committed."""
    return machine.Progress(workflow_pb2.WORKFLOW_STATUS_RUNNING, progress.steps, progress.error, progress.parallelism)
