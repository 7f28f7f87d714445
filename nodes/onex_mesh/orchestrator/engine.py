"""All workflows of one orchestrator: starts them, follows them, takes over those whose owner died."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass

import structlog

from onex.v1 import common_pb2, workflow_pb2
from onex_lease import Journal, LiveView, Ownership, Session
from onex_mesh.orchestrator.core import machine, records, rendezvous
from onex_mesh.orchestrator.core.plan import Plan, check_workflow_id, compile_plan
from onex_mesh.orchestrator.core.registry import WorkflowRegistry
from onex_mesh.orchestrator.dependencies import check_dependencies
from onex_mesh.orchestrator.ports import ActionDispatcher, HealthMonitor
from onex_mesh.orchestrator.runner import Outcome, OwnershipLostError, Services, WorkflowRunner
from onex_mesh.runtime import errors
from onex_mesh.runtime.node import DRAINING
from onex_mesh.runtime.payloads import Payloads

log = structlog.get_logger(__name__)

_PLANS_KEPT = 512
_ADOPTIONS_AT_ONCE = 16
_RANK_WAIT_S = 1.0
"""How much longer each further orchestrator in the ranking waits before it takes a workflow over."""
_SWEEP_S = 5.0


@dataclass(frozen=True, slots=True)
class EngineParts:
    """What an engine is made of; wired in `node.py`."""

    registry: WorkflowRegistry
    journal: Journal
    view: LiveView
    dispatcher: ActionDispatcher
    health: HealthMonitor
    session: Callable[[], Session]
    instance_id: str
    address: str
    payloads: Payloads
    workflows_max: int = 10_000


@dataclass(frozen=True, slots=True)
class Started:
    """A workflow that is there now."""

    contract: workflow_pb2.OrchestratorContract
    epoch: int
    created: bool
    """False if it existed already with the same contract."""


@dataclass(slots=True)
class _Running:
    runner: WorkflowRunner
    task: asyncio.Task[Outcome]


class Engine:
    """See the module."""

    def __init__(self, parts: EngineParts) -> None:
        self._parts = parts
        self._services = Services(parts.journal, parts.dispatcher, parts.session, parts.address, parts.payloads)
        self._running: dict[str, _Running] = {}
        self._plans: OrderedDict[tuple[bytes, ...], Plan] = OrderedDict()
        self._background: set[asyncio.Task[None]] = set()
        self._adopting: set[str] = set()
        self._adoptions = asyncio.Semaphore(_ADOPTIONS_AT_ONCE)
        self._accepting = True

    # Lifecycle

    async def start_serving(self) -> None:
        """Begins to take workflows over."""
        self._parts.view.on_orphans(self._orphans)
        self._spawn(self._sweep())

    async def drain(self) -> None:
        """Takes no new workflow and waits until those under way have ended."""
        self._accepting = False
        await asyncio.gather(*(entry.task for entry in self._running.values()), return_exceptions=True)

    async def close(self) -> None:
        """Lets go of all workflows: they go on elsewhere from their last commit, once the session is revoked."""
        self._accepting = False
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        await self.let_go()

    async def let_go(self) -> None:
        """Stops work on every workflow at once: the session under it is lost."""
        tasks = [entry.task for entry in self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def running_count(self) -> int:
        """Workflows under way here."""
        return len(self._running)

    # Starting

    async def start(self, given: workflow_pb2.OrchestratorContract) -> Started:
        """Starts a workflow; returns once its start is committed.

        Raises:
            ValidationError: The contract is wrong.
            WorkflowNotFoundError: It names a definition that there is not.
            DependencyResolutionError, VersionIncompatibleError: A required service is not there as required.
            WorkflowExistsError: The id is taken by a workflow with another contract.
            OverloadedError: Too many workflows are under way, or the node is about to stop.
            PayloadTooLargeError: Its input is too large, and there is no payload store; or for that, too.
        """
        contract = self._parts.registry.filled_in(given)
        contract.correlation_id = contract.correlation_id or str(uuid.uuid4())
        contract.workflow_id = contract.workflow_id or str(uuid.uuid4())
        check_workflow_id(contract.workflow_id)
        plan = self._plan(contract)
        contract.initial_state.CopyFrom(await self._parts.payloads.fit(contract.initial_state))
        entry = self._running.get(contract.workflow_id)
        if entry is None:
            if not self._accepting:
                raise errors.OverloadedError("the orchestrator is stopping; another one will take this")
            if len(self._running) >= self._parts.workflows_max:
                raise errors.OverloadedError(f"{len(self._running)} workflows are under way; that is the bound")
            if contract.dependency_resolution:
                await check_dependencies(contract.dependency_resolution, self._parts.view, self._parts.health)
            entry = self._running.get(contract.workflow_id)
        if entry is not None:
            await asyncio.wait((entry.runner.started,))
            return await self._existing(contract)
        self._parts.session().require_valid()
        runner = WorkflowRunner(self._services, plan, contract, start_action_id=str(uuid.uuid4()))
        self._launch(runner)
        try:
            epoch = await asyncio.shield(runner.started)
        except (errors.WorkflowExistsError, errors.LeaseConflictError):
            return await self._existing(contract)
        except OwnershipLostError as error:
            raise errors.EtcdUnavailableError("the orchestrator lost its session; try again") from error
        return Started(contract, epoch, created=True)

    async def _existing(self, contract: workflow_pb2.OrchestratorContract) -> Started:
        workflow_id = contract.workflow_id
        found = await self._parts.journal.read_state(workflow_id)
        if found is None:
            raise errors.LeaseConflictError(
                f"workflow {workflow_id!r} is owned by another writer", error_context={"workflow_id": workflow_id}
            )
        state, epoch = found
        if state.contract_digest != records.contract_digest(contract):
            raise errors.WorkflowExistsError(
                f"workflow {workflow_id!r} exists with another contract",
                error_context={"workflow_id": workflow_id, "epoch": epoch},
            )
        return Started(contract, epoch, created=False)

    def _launch(self, runner: WorkflowRunner) -> None:
        task = asyncio.create_task(runner.run(), name=f"workflow-{runner.workflow_id}")
        self._running[runner.workflow_id] = _Running(runner, task)
        task.add_done_callback(lambda done: self._ended(runner, done))

    def _ended(self, runner: WorkflowRunner, task: asyncio.Task[Outcome]) -> None:
        entry = self._running.get(runner.workflow_id)
        if entry is not None and entry.task is task:
            del self._running[runner.workflow_id]
        if task.cancelled():
            return
        error = task.exception()
        if error is None or isinstance(error, errors.WorkflowExistsError | errors.LeaseConflictError):
            return
        if isinstance(error, OwnershipLostError):
            log.warning("lost a workflow to another owner", workflow_id=runner.workflow_id, why=str(error))
        elif isinstance(error, errors.OnexError):
            log.error("a workflow stopped", workflow_id=runner.workflow_id, reason=error.reason, why=error.message)
        else:
            log.error("a workflow stopped unexpectedly", workflow_id=runner.workflow_id, exc_info=error)

    def _plan(self, contract: workflow_pb2.OrchestratorContract) -> Plan:
        """The compiled plan; workflows of one definition share it."""
        parts = (contract.workflow_config, contract.conflict_resolution, contract.timeout)
        key = tuple(part.SerializeToString(deterministic=True) for part in parts)
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plans[key] = compile_plan(contract)
            if len(self._plans) > _PLANS_KEPT:
                self._plans.popitem(last=False)
        else:
            self._plans.move_to_end(key)
        return plan

    # Following

    async def outcome(self, workflow_id: str) -> Outcome:
        """Waits until a workflow has ended, here or elsewhere.

        Raises:
            WorkflowNotFoundError: There is no such workflow.
        """
        entry = self._running.get(workflow_id)
        if entry is not None:
            with contextlib.suppress(OwnershipLostError, errors.OnexError):
                await asyncio.wait((entry.task,))
                if not entry.task.cancelled():
                    return entry.task.result()
        found = await self._parts.journal.read_state(workflow_id)
        if found is None:
            raise not_found(workflow_id)
        state, epoch = found
        if state.status not in machine.FINAL:
            async for _ in self.follow(workflow_id, after_epoch=epoch):
                continue
        return await self.load(workflow_id)

    async def follow(self, workflow_id: str, *, after_epoch: int) -> AsyncIterator[workflow_pb2.Commit]:
        """The commits of a workflow as they are made, until its last one.

        Raises:
            WorkflowNotFoundError: There is no such workflow.
        """
        if await self._parts.journal.read_state(workflow_id) is None:
            raise not_found(workflow_id)
        async for commit in self._parts.journal.watch_log(workflow_id, after_epoch=after_epoch):
            yield commit
            if commit.state.status in machine.FINAL:
                return

    async def load(self, workflow_id: str) -> Outcome:
        """A workflow as it is committed.

        Raises:
            WorkflowNotFoundError: There is no such workflow.
        """
        found = await self._parts.journal.read_state(workflow_id)
        if found is None:
            raise not_found(workflow_id)
        state, epoch = found
        commits = [record for record, _ in await self._parts.journal.read_log(workflow_id)]
        recovered = records.read_log([commit for commit in commits if commit.epoch <= epoch])
        result = records.orchestration_result(recovered.contract, state, recovered.results, recovered.output)
        return Outcome(recovered.contract, state, epoch, commits[-1].lease_id if commits else "", result)

    # Taking over

    def _orphans(self, workflow_ids: list[str]) -> None:
        if not self._accepting:
            return
        instances = [
            node.instance_id
            for node in self._parts.view.nodes(common_pb2.NODE_KIND_ORCHESTRATOR)
            if DRAINING not in node.capabilities
        ]
        for workflow_id in workflow_ids:
            place = rendezvous.rank(workflow_id, self._parts.instance_id, instances)
            self._spawn(self._adopt(workflow_id, after_s=place * _RANK_WAIT_S))

    async def _sweep(self) -> None:
        """Looks for unowned workflows now and then: those that died with every orchestrator, or slipped through."""
        while True:
            try:
                orphans = await self._unowned()
            except errors.OnexError as error:
                log.warning("could not look for unowned workflows", reason=error.reason, why=error.message)
            else:
                self._orphans(orphans)
            await asyncio.sleep(_SWEEP_S)

    async def _unowned(self) -> list[str]:
        open_ids = await self._parts.journal.list_open()
        return [
            workflow_id
            for workflow_id in open_ids
            if self._parts.view.owner(workflow_id) is None and workflow_id not in self._running
        ]

    async def _adopt(self, workflow_id: str, *, after_s: float) -> None:
        if workflow_id in self._adopting or workflow_id in self._running:
            return
        self._adopting.add(workflow_id)
        try:
            await asyncio.sleep(after_s)
            async with self._adoptions:
                await self._take_over(workflow_id)
        except errors.LeaseConflictError:
            log.debug("another orchestrator took the workflow over", workflow_id=workflow_id)
        except errors.OnexError as error:
            log.warning(
                "could not take a workflow over", workflow_id=workflow_id, reason=error.reason, why=error.message
            )
        finally:
            self._adopting.discard(workflow_id)

    async def _take_over(self, workflow_id: str) -> None:
        """Acquires a workflow and goes on from its last commit."""
        parts = self._parts
        if not self._accepting or parts.view.owner(workflow_id) is not None or workflow_id in self._running:
            return
        seen = await parts.journal.read_state(workflow_id)
        if seen is None or seen[0].external or seen[0].status in machine.FINAL:
            return
        ownership = await parts.journal.acquire(parts.session(), workflow_id, address=parts.address)
        try:
            runner = await self._recovered_runner(workflow_id, ownership)
        except BaseException:
            await parts.journal.release(ownership)
            raise
        if runner is None:
            await parts.journal.release(ownership)
            return
        log.info("took a workflow over", workflow_id=workflow_id, epoch=ownership.epoch)
        self._launch(runner)

    async def _recovered_runner(self, workflow_id: str, ownership: Ownership) -> WorkflowRunner | None:
        found = await self._parts.journal.read_state(workflow_id)
        if found is None or found[0].status in machine.FINAL:
            return None
        state, _ = found
        recovered = records.read_log([record for record, _ in await self._parts.journal.read_log(workflow_id)])
        return WorkflowRunner(
            self._services,
            self._plan(recovered.contract),
            recovered.contract,
            start_action_id=state.start_action_id,
            ownership=ownership,
            state=state,
            recovered=recovered,
        )

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


def not_found(workflow_id: str) -> errors.WorkflowNotFoundError:
    """The error for an id that no workflow has."""
    return errors.WorkflowNotFoundError(
        f"there is no workflow {workflow_id!r}", error_context={"workflow_id": workflow_id}
    )
