"""What the log keeps of a workflow, and what is read back from it."""

from __future__ import annotations

import pytest

from onex.v1 import action_pb2, common_pb2, effect_pb2, intent_pb2, workflow_pb2
from onex_mesh.orchestrator.core import actions, machine, records, rendezvous
from onex_mesh.orchestrator.core.plan import compile_plan
from onex_mesh.orchestrator.core.policy import FailurePolicy, Verdict, compile_policy
from onex_mesh.orchestrator.core.registry import WorkflowRegistry
from onex_mesh.runtime.errors import ValidationError, WorkflowNotFoundError
from onex_mesh.runtime.payload import bytes_payload, json_payload

TEMPORARY = common_pb2.OnexError(reason="TARGET_UNAVAILABLE", retryable=True)


def contract(*step_ids: str, name: str = "demo") -> workflow_pb2.OrchestratorContract:
    made = workflow_pb2.OrchestratorContract(workflow_id="w", correlation_id="c")
    made.workflow_config.name = name
    for step_id in step_ids:
        row = made.workflow_config.steps.add(step_id=step_id)
        row.command.compute.algorithm_config.algorithm_type = "identity"
    return made


def test_the_digest_of_a_contract_leaves_out_its_correlation_id() -> None:
    """R96: the same start under another correlation id is the same; another input is not."""
    first, second, third = contract("a"), contract("a"), contract("a")
    second.correlation_id = "another"
    third.initial_state.CopyFrom(json_payload({"n": 1}))
    assert records.contract_digest(first) == records.contract_digest(second)
    assert records.contract_digest(first) != records.contract_digest(third)


def test_progress_survives_the_state() -> None:
    """R94, R140: what a state holds is what the next owner reads, only changed steps being written again."""
    plan = compile_plan(contract("a", "b", "c"))
    error = common_pb2.OnexError(reason="EFFECT_FAILED", message="no")
    state = workflow_pb2.WorkflowState()
    before = machine.begin(plan)
    records.write_steps(state, before, None, {})
    after = machine.evolve(plan, before, machine.Dispatched((0, 1, 2)))
    after = machine.evolve(plan, after, machine.Succeeded(0))
    after = machine.evolve(plan, after, machine.Failed(1, error, now=5.0))
    records.write_steps(state, after, before, {0: 2})
    read = records.read_progress(state)
    assert [step.status for step in read.steps] == [step.status for step in after.steps]
    assert (read.status, read.error, read.parallelism) == (workflow_pb2.WORKFLOW_STATUS_ABORTED, error, 1)
    assert [row.result_epoch for row in state.steps] == [2, 0, 0]


def test_failed_intents_are_recognised_by_the_result_that_is_there() -> None:
    """R87: a RETRYING step with a result is a transition whose intents failed, also for the next owner."""
    state = workflow_pb2.WorkflowState(status=workflow_pb2.WORKFLOW_STATUS_RUNNING)
    row = state.steps.add(status=workflow_pb2.STEP_STATUS_RETRYING, attempts=1, result_epoch=2)
    row.retry_at.CopyFrom(records.timestamp(12.5))
    step = records.read_progress(state).steps[0]
    assert (step.intents_failed, step.retry_at) == (True, 12.5)


def test_later_results_of_a_step_complete_earlier_ones() -> None:
    """R85, R110: a transition's result and the results of its intents become one, the last of each intent counting."""
    results = records.Results()
    results.add(
        workflow_pb2.StepResult(
            step_id="a", result=json_payload({"status": "PLACED"}), status=workflow_pb2.STEP_STATUS_EXECUTING_INTENTS
        )
    )
    failed = intent_pb2.IntentResult(intent_id="i", status=intent_pb2.INTENT_STATUS_FAILED)
    done = intent_pb2.IntentResult(intent_id="i", status=intent_pb2.INTENT_STATUS_COMPLETED)
    results.add(workflow_pb2.StepResult(step_id="a", intent_results=[failed], error=TEMPORARY))
    results.add(workflow_pb2.StepResult(step_id="a", status=workflow_pb2.STEP_STATUS_COMPLETED, intent_results=[done]))
    merged = results.by_step["a"]
    assert merged.result.json.struct_value.fields["status"].string_value == "PLACED"
    assert [row.status for row in merged.intent_results] == [intent_pb2.INTENT_STATUS_COMPLETED]
    assert merged.status == workflow_pb2.STEP_STATUS_COMPLETED
    assert not merged.HasField("error")


def test_a_large_pure_result_is_left_out_and_recomputed() -> None:
    """R94: a COMPUTE result over the bound is not logged; the next owner computes it again if something reads it."""
    big = workflow_pb2.StepResult(step_id="a", result=bytes_payload(b"x" * (records.RESULT_BYTES_MAX + 1)))
    big.status = workflow_pb2.STEP_STATUS_COMPLETED
    kept = records.without_large_result(big)
    assert (kept.HasField("result"), kept.step_id) == (False, "a")
    assert big.HasField("result")
    plan = compile_plan(contract("a", "b"))
    results = records.Results()
    results.add(kept)
    done = machine.StepProgress(workflow_pb2.STEP_STATUS_COMPLETED, 1)
    half = machine.Progress(workflow_pb2.WORKFLOW_STATUS_RUNNING, (done, machine.StepProgress()))
    assert records.forget_omitted(plan, half, results).steps[0].status == workflow_pb2.STEP_STATUS_PENDING
    whole = machine.Progress(workflow_pb2.WORKFLOW_STATUS_RUNNING, (done, done))
    assert records.forget_omitted(plan, whole, results).steps[0].status == workflow_pb2.STEP_STATUS_COMPLETED


def test_a_large_result_that_cannot_be_recomputed_is_an_error() -> None:
    """R18: the result of an effect over the bound fails its step with PAYLOAD_TOO_LARGE and the sizes."""
    made = contract("a")
    made.workflow_config.steps[0].command.effect.io_operation_config.effect_type = "noop"
    step = compile_plan(made).steps[0]
    output = action_pb2.StepOutput(step_id="a")
    output.effect.operation_result.CopyFrom(bytes_payload(b"x" * (records.RESULT_BYTES_MAX + 1)))
    error = actions.too_large(output, step)
    assert error is not None
    assert error.reason == "PAYLOAD_TOO_LARGE"
    assert error.error_context.fields["size_bytes_max"].number_value == records.RESULT_BYTES_MAX


def test_pipeline_errors_name_every_node() -> None:
    """R151, R152: all errors in order, the nodes they came from, and how many."""
    chain = [
        common_pb2.OnexError(reason="A", node_kind=common_pb2.NODE_KIND_EFFECT),
        common_pb2.OnexError(reason="B", node_kind=common_pb2.NODE_KIND_COMPUTE),
    ]
    context = records.pipeline_errors("c", chain)
    assert list(context.failed_nodes) == ["effect", "compute"]
    assert (context.total_errors, context.correlation_id) == (2, "c")


def test_success_rate_of_no_steps_is_one() -> None:
    """F29: no division by zero."""
    assert records.success_rate(workflow_pb2.WorkflowState()) == 1.0


def test_action_ids_derive_from_step_and_attempt() -> None:
    """F13, R116: the same attempt has the same id under every owner; another attempt has another."""
    start = "2b1f7a3c-6f0e-4a77-9b8a-111111111111"
    assert actions.action_id(start, "a", 1) == actions.action_id(start, "a", 1)
    assert (
        len({actions.action_id(start, "a", 1), actions.action_id(start, "a", 2), actions.action_id(start, "b", 1)}) == 3
    )


def test_backoff_grows_to_its_cap() -> None:
    """R103, F16: exponential, capped, spread by chance."""
    policy = FailurePolicy(5, frozenset(), skip=False, backoff_initial_s=1.0, backoff_max_s=4.0, jitter=0.5)
    assert [policy.delay_s(n, 0.0) for n in (1, 2, 3, 4)] == [1.0, 2.0, 4.0, 4.0]
    assert policy.delay_s(1, 0.5) == 1.25
    assert policy.verdict(TEMPORARY, 5) is Verdict.RETRY
    assert policy.verdict(TEMPORARY, 6) is Verdict.ABORT


def test_wrong_policies_are_refused_with_the_field() -> None:
    """R102: bounds of retries, multiplier and jitter."""
    violations: list[tuple[str, str]] = []
    wrong = workflow_pb2.ConflictResolution(max_retries=101)
    wrong.retry_config.backoff_multiplier = 0.5
    wrong.retry_config.jitter = 2.0
    wrong.retry_config.max_backoff.seconds = -1
    compile_policy(wrong, "p", violations)
    assert [field for field, _ in violations] == [
        "p.max_retries",
        "p.retry_config.backoff_multiplier",
        "p.retry_config.jitter",
        "p.retry_config.max_backoff",
    ]


def test_a_death_moves_only_the_workflows_of_the_dead() -> None:
    """R94: rendezvous hashing spreads workflows and keeps those of the living where they are."""
    instances = ["a", "b", "c"]
    ids = [f"w{n}" for n in range(300)]
    first = {name: rendezvous.ranking(name, instances)[0] for name in ids}
    assert set(first.values()) == set(instances)
    after = {name: rendezvous.ranking(name, ["a", "b"])[0] for name in ids}
    assert all(after[name] == owner for name, owner in first.items() if owner != "c")
    assert rendezvous.rank("w1", "unknown", instances) == 3


def test_definitions_fill_in_a_contract_that_names_them() -> None:
    """R96: a start by name takes the definition's steps and keeps its own id and input."""
    registry = WorkflowRegistry()
    registry.add(contract("a", "b"))
    given = workflow_pb2.OrchestratorContract(workflow_id="mine", initial_state=json_payload({"n": 1}))
    given.workflow_config.name = "demo"
    complete = registry.filled_in(given)
    assert [step.step_id for step in complete.workflow_config.steps] == ["a", "b"]
    assert (complete.workflow_id, complete.initial_state) == ("mine", given.initial_state)
    given.workflow_config.name = "other"
    with pytest.raises(WorkflowNotFoundError, match="defined: demo"):
        registry.filled_in(given)


def test_definitions_need_a_name_of_their_own() -> None:
    """R96: without a name, or with one that is taken, a definition is refused."""
    registry = WorkflowRegistry()
    registry.add(contract("a"))
    with pytest.raises(ValidationError, match="registered already"):
        registry.add(contract("a"))
    with pytest.raises(ValidationError, match="needs a name"):
        registry.add(contract("a", name=""))


def test_the_log_says_who_did_what_under_which_key() -> None:
    """R11, R146: the record of an effect step, of one that succeeded and of one that failed."""
    metadata = effect_pb2.EffectMetadata(
        target="orders",
        effect_type="database_write",
        operation="insert orders",
        attempts=2,
        idempotency_key="order_1",
        fencing_token=7,
        executed_by="effect-1",
    )
    output = action_pb2.StepOutput(step_id="a", effect=effect_pb2.EffectOutput(metadata=metadata))
    record = actions.step_result(output, workflow_pb2.STEP_STATUS_COMPLETED, 1, "effect-1").effect
    assert (record.target, record.operation, record.idempotency_key) == ("orders", "insert orders", "order_1")
    assert (record.fencing_token, record.attempts, record.executed_by) == (7, 2, "effect-1")
    assert record.outcome == "completed"
    metadata.replayed = True
    assert actions.effect_record(metadata).outcome == "replayed"
    error = common_pb2.OnexError(reason="EFFECT_FAILED")
    assert actions.failed_effect_record(error) is None
    error.error_context.update({"effect_type": "api_call", "target": "shop", "attempts": 3, "fencing_token": "9"})
    failed = actions.failed_effect_record(error)
    assert failed is not None
    assert (failed.target, failed.effect_type, failed.attempts, failed.fencing_token) == ("shop", "api_call", 3, 9)
    assert failed.outcome == "failed"
