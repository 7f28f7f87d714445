"""Effects and batches of intents as messages: what services and actions share."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

from onex.v1 import action_pb2, common_pb2, effect_pb2, intent_pb2
from onex_mesh.effect.core.batch import execution_order, run_batch
from onex_mesh.effect.core.contracts import ReadRequest, read_contract, read_intent, require_batch
from onex_mesh.effect.core.engine import EffectEngine
from onex_mesh.effect.core.once import to_payload
from onex_mesh.effect.core.request import EffectContext
from onex_mesh.effect.records import attempts_of, completed_record, duration, effect_output, failed_record
from onex_mesh.runtime.command import CommandContext
from onex_mesh.runtime.errors import OnexError, ValidationError, to_proto


class EffectExecutor:
    """See `onex_mesh.runtime.command.CommandExecutor`."""

    def __init__(self, engine: Callable[[], EffectEngine]) -> None:
        self._engine = engine

    async def execute(self, command: action_pb2.Command, context: CommandContext) -> action_pb2.StepOutput:
        """Executes an effect or a batch of intents of an action."""
        effect_context = EffectContext(
            correlation_id=context.correlation_id,
            workflow_id=context.workflow_id,
            step_id=context.step_id,
            fencing_token=context.fencing_token,
            deadline=context.deadline,
            issued_at=context.issued_at,
        )
        kind = command.WhichOneof("command")
        if kind == "effect":
            return action_pb2.StepOutput(effect=await self.effect(command.effect, effect_context))
        if kind == "intents":
            results = await self._all_intents(command.intents.intents, effect_context)
            return action_pb2.StepOutput(intents=action_pb2.IntentResults(results=results))
        text = f"an effect node executes effects and intents, not {kind or 'nothing'}"
        raise ValidationError(text, violations=(("command_payload", text),))

    async def effect(self, contract: effect_pb2.EffectContract, context: EffectContext) -> effect_pb2.EffectOutput:
        """Executes an effect contract.

        Raises:
            OnexError: It was refused, or failed for good.
        """
        read = read_contract(contract, context)
        outcome = await self._engine().execute(read)
        return effect_output(read.request, outcome)

    async def intents(
        self, intents: Sequence[intent_pb2.Intent], context: EffectContext
    ) -> AsyncGenerator[intent_pb2.IntentResult, None]:
        """Executes intents by priority; yields each result as it ends. A failed intent is a result, too (R86).

        Raises:
            ValidationError: There are too many, or two with the same id; none was executed.
        """
        require_batch(intents)
        reads = [read_intent(intent, context) for intent in intents]
        batch = run_batch(reads, lambda index: self._intent(intents[index], reads[index]))
        async with aclosing(batch) as running:
            async for _, result in running:
                yield result

    async def _all_intents(
        self, intents: Sequence[intent_pb2.Intent], context: EffectContext
    ) -> list[intent_pb2.IntentResult]:
        require_batch(intents)
        reads = [read_intent(intent, context) for intent in intents]
        running = run_batch(reads, lambda index: self._intent(intents[index], reads[index]))
        ended = {index: result async for index, result in running}
        return [ended[index] for index in execution_order(reads)]

    async def _intent(self, intent: intent_pb2.Intent, read: ReadRequest) -> intent_pb2.IntentResult:
        result = intent_pb2.IntentResult(intent_id=intent.intent_id)
        began, began_at_s = time.monotonic(), time.time()
        try:
            outcome = await self._engine().execute(read)
            result.result.CopyFrom(to_payload(outcome.value))
            result.status = intent_pb2.INTENT_STATUS_COMPLETED
            result.attempts = outcome.attempts
            result.replayed = outcome.replayed
            result.record.CopyFrom(completed_record(read.request, outcome))
        except OnexError as error:
            error.correlation_id = error.correlation_id or read.request.context.correlation_id
            result.error.CopyFrom(to_proto(error, node_kind=common_pb2.NODE_KIND_EFFECT))
            result.status = intent_pb2.INTENT_STATUS_FAILED
            result.attempts = attempts_of(error)
            result.record.CopyFrom(failed_record(read.request, error, began_at_s))
        result.execution_time.CopyFrom(duration(time.monotonic() - began))
        return result
