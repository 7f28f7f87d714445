"""ReducerService and the executor of actions: translate and call the reductions."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

from onex.v1 import action_pb2, reducer_pb2, reducer_pb2_grpc
from onex_mesh.reducer.core.aggregator import Aggregator
from onex_mesh.reducer.core.fsm import Fsm
from onex_mesh.reducer.kept import KeptReductions
from onex_mesh.reducer.ports import Clock, Reducers
from onex_mesh.reducer.reduction import Origin, Reductions
from onex_mesh.reducer.streamed import StreamedReduction
from onex_mesh.runtime.call import CallContext
from onex_mesh.runtime.command import CommandContext
from onex_mesh.runtime.errors import ValidationError
from onex_mesh.runtime.payload import to_struct
from onex_mesh.runtime.payloads import Payloads


class ReducerExecutor:
    """Executes the reductions of actions; see `onex_mesh.runtime.command.CommandExecutor`."""

    def __init__(self, reductions: Reductions) -> None:
        self._reductions = reductions

    async def execute(self, command: action_pb2.Command, context: CommandContext) -> action_pb2.StepOutput:
        """Runs one reduction; its time and ids are those of the action.

        Raises:
            OnexError: It is refused or failed.
        """
        origin = Origin(context.correlation_id, context.action_id, context.issued_at)
        output = await self._reductions.reduce(command.reduction, origin)
        return action_pb2.StepOutput(reduction=output)


class ReducerServicer(reducer_pb2_grpc.ReducerServiceServicer):
    """See the module."""

    def __init__(
        self,
        reductions: Reductions,
        kept: KeptReductions,
        reducers: Reducers,
        clock: Clock,
        payloads: Payloads,
    ) -> None:
        self._reductions = reductions
        self._kept = kept
        self._reducers = reducers
        self._clock = clock
        self._payloads = payloads

    async def ExecuteReduction(
        self, request: reducer_pb2.ExecuteReductionRequest, context: CallContext
    ) -> reducer_pb2.ExecuteReductionResponse:
        """Runs one reduction (R51), on a state that the node keeps where the contract asks for a transaction (R59)."""
        runner = self._kept if request.contract.HasField("transaction_config") else self._reductions
        contract = await self._payloads.fetched(request.contract)
        output = await runner.reduce(contract, self._origin(contract))
        await self._payloads.fit_answer(output)
        return reducer_pb2.ExecuteReductionResponse(output=output)

    async def StreamReduction(
        self, request_iterator: AsyncIterator[reducer_pb2.StreamReductionRequest], context: CallContext
    ) -> AsyncIterator[reducer_pb2.StreamReductionResponse]:
        """Aggregates chunks as they come (R50, R57): progress when some were counted, then the output."""
        streamed: StreamedReduction | None = None
        async for request in request_iterator:
            if streamed is None:
                streamed = self._begun(await self._payloads.fetched(request))
                continue
            if not request.HasField("chunk"):
                raise _refused("message", "after the contract come only chunks")
            progress = await streamed.take(await self._payloads.fetched(request.chunk, "chunk"))
            if progress is not None:
                await self._payloads.fit_answer(progress)
                yield reducer_pb2.StreamReductionResponse(progress=progress)
        if streamed is None:
            raise _refused("contract", "the first message is the contract, and is missing")
        output = await streamed.finish()
        await self._payloads.fit_answer(output)
        yield reducer_pb2.StreamReductionResponse(output=output)

    async def ListReducers(
        self, request: reducer_pb2.ListReducersRequest, context: CallContext
    ) -> reducer_pb2.ListReducersResponse:
        """Lists the reducers of the application, by name and version."""
        rows = [_machine(found) if isinstance(found, Fsm) else _aggregator(found) for found in self._reducers]
        return reducer_pb2.ListReducersResponse(reducers=rows)

    def _begun(self, request: reducer_pb2.StreamReductionRequest) -> StreamedReduction:
        if not request.HasField("contract"):
            raise _refused("contract", "the first message is the contract")
        if request.contract.HasField("input_data"):
            raise _refused("contract.input_data", "the records of a stream come in chunks")
        if request.contract.HasField("transaction_config"):
            raise _refused("contract.transaction_config", "a stream keeps no state; use ExecuteReduction")
        return StreamedReduction(self._reductions, request.contract, self._origin(request.contract))

    def _origin(self, contract: reducer_pb2.ReducerContract) -> Origin:
        # The correlation id is there: the interceptor fills it in. Outside of a server there may be none.
        correlation_id = contract.correlation_id or str(uuid.uuid4())
        return Origin(correlation_id, correlation_id, self._clock())


def _machine(fsm: Fsm) -> reducer_pb2.Reducer:
    row = reducer_pb2.Reducer(
        name=fsm.name,
        version=fsm.version,
        description=fsm.description,
        states=[str(state.value) for state in fsm.states],
        initial_state=fsm.status_of(fsm.initial),
        final_states=sorted(fsm.final),
        state_schema=to_struct(fsm.model.model_json_schema()),
    )
    for transitions in fsm.transitions.values():
        for transition in transitions:
            sources = ["*"] if transition.any_source else sorted(transition.sources)
            added = row.transitions.add(action=transition.action, sources=sources, target=transition.target or "")
            if transition.payload_model is not None:
                added.payload_schema.CopyFrom(to_struct(transition.payload_model.model_json_schema()))
    return row


def _aggregator(aggregator: Aggregator) -> reducer_pb2.Reducer:
    return reducer_pb2.Reducer(
        name=aggregator.name,
        version=aggregator.version,
        description=aggregator.description,
        state_schema=to_struct(aggregator.model.model_json_schema()),
    )


def _refused(field: str, text: str) -> ValidationError:
    return ValidationError(f"{field}: {text}", violations=((field, text),))
