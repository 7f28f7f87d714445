"""The orchestrator's machine: decide and evolve are pure, so each promise is a table of inputs and outputs."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onex.v1 import common_pb2, workflow_pb2
from onex_mesh.orchestrator.core import machine
from onex_mesh.orchestrator.core.plan import Plan, compile_plan
from onex_mesh.runtime.errors import ValidationError

PENDING = workflow_pb2.STEP_STATUS_PENDING
RUNNING = workflow_pb2.STEP_STATUS_RUNNING
DONE = workflow_pb2.STEP_STATUS_COMPLETED
SKIPPED = workflow_pb2.STEP_STATUS_SKIPPED
FAILED = workflow_pb2.STEP_STATUS_FAILED
CANCELLED = workflow_pb2.STEP_STATUS_CANCELLED
RETRYING = workflow_pb2.STEP_STATUS_RETRYING
INTENTS = workflow_pb2.STEP_STATUS_EXECUTING_INTENTS

TEMPORARY = common_pb2.OnexError(reason="TARGET_UNAVAILABLE", message="away", retryable=True)
PERMANENT = common_pb2.OnexError(reason="EFFECT_FAILED", message="refused")


def step(step_id: str, kind: str = "compute", *after: str, reads: str = "") -> workflow_pb2.Step:
    made = workflow_pb2.Step(step_id=step_id, depends_on=after)
    if kind == "compute":
        made.command.compute.algorithm_config.algorithm_type = "identity"
        if reads:
            made.command.compute.input_data.json.string_value = f"${{steps.{reads}.output}}"
    elif kind == "effect":
        made.command.effect.external_service_config.target = "t"
        made.command.effect.io_operation_config.effect_type = "noop"
    else:
        made.command.reduction.reduction_config.reducer = "order"
        made.command.reduction.reduction_config.state_key = kind
        made.command.reduction.fsm_action.action = "GO"
    return made


def plan(*steps: workflow_pb2.Step, parallel: bool = False, every_step: bool = False, **resolution: object) -> Plan:
    contract = workflow_pb2.OrchestratorContract(
        workflow_config=workflow_pb2.WorkflowConfig(
            steps=steps,
            coordination_type=workflow_pb2.COORDINATION_TYPE_PARALLEL
            if parallel
            else workflow_pb2.COORDINATION_TYPE_SEQUENTIAL,
            durability=workflow_pb2.DURABILITY_EVERY_STEP if every_step else workflow_pb2.DURABILITY_PURITY_AWARE,
        ),
        conflict_resolution=workflow_pb2.ConflictResolution(**resolution),  # type: ignore[arg-type]  # by name
    )
    return compile_plan(contract)


def statuses(progress: machine.Progress) -> list[int]:
    return [row.status for row in progress.steps]


def play(compiled: Plan, *events: machine.Event) -> machine.Progress:
    progress = machine.begin(compiled)
    for event in events:
        progress = machine.evolve(compiled, progress, event)
    return progress


def test_sequential_pure_steps_travel_as_one_chain() -> None:
    """R97: adjacent pure steps for one node travel as one call."""
    compiled = plan(step("a"), step("b"), step("c"))
    assert machine.decide(compiled, machine.begin(compiled), 0.0).pure == ((0, 1, 2),)


def test_a_chain_that_tells_what_it_has_done_goes_on() -> None:
    """R97: a link that is done is not handed out again, and what follows the chain waits for all of it."""
    compiled = plan(step("a"), step("b"), step("e", "effect"), every_step=True)
    assert machine.decide(compiled, machine.begin(compiled), 0.0).pure == ((0, 1),)
    progress = play(compiled, machine.Dispatched((0, 1)), machine.Succeeded(0))
    assert machine.decide(compiled, progress, 0.0) == machine.Decision()


def test_a_chain_ends_where_an_effect_begins() -> None:
    """R97, R98: SEQUENTIAL runs in the order given; an effect waits for what is before it."""
    compiled = plan(step("a"), step("b"), step("e", "effect"), step("c"))
    first = machine.decide(compiled, machine.begin(compiled), 0.0)
    assert (first.pure, first.effects) == (((0, 1),), ())
    progress = play(compiled, machine.Dispatched((0, 1)), machine.Succeeded(0), machine.Succeeded(1))
    second = machine.decide(compiled, progress, 0.0)
    assert (second.pure, second.effects) == ((), (2,))


def test_a_chain_may_read_what_stands_before_its_neighbour() -> None:
    """R106: c reads a and follows b; still all three travel together."""
    compiled = plan(step("a"), step("b"), step("c", "compute", reads="a"))
    assert machine.decide(compiled, machine.begin(compiled), 0.0).pure == ((0, 1, 2),)


def test_parallel_starts_each_step_when_its_own_inputs_are_there() -> None:
    """R108: by dependency, not level by level: d starts with a done although b is not."""
    compiled = plan(step("a"), step("b"), step("c", "effect", "b"), step("d", "effect", "a"), parallel=True)
    progress = play(compiled, machine.Dispatched((0,)), machine.Dispatched((1,)), machine.Succeeded(0))
    assert machine.decide(compiled, progress, 0.0).effects == (3,)


def test_parallel_diamond_is_not_chained_past_its_fork() -> None:
    """R108: a chain does not hold up what could start beside it."""
    compiled = plan(
        step("a"), step("b", "compute", "a"), step("c", "compute", "a"), step("d", "compute", "b", "c"), parallel=True
    )
    assert machine.decide(compiled, machine.begin(compiled), 0.0).pure == ((0,),)
    progress = play(compiled, machine.Dispatched((0,)), machine.Succeeded(0))
    assert machine.decide(compiled, progress, 0.0).pure == ((1,), (2,))


def test_a_template_is_a_dependency() -> None:
    """R106, R108: a PARALLEL step waits for the steps that its templates read."""
    compiled = plan(step("a", "effect"), step("b", "compute", reads="a"), parallel=True)
    decision = machine.decide(compiled, machine.begin(compiled), 0.0)
    assert (decision.effects, decision.pure) == ((0,), ())


def test_transitions_of_one_state_never_overlap() -> None:
    """R46, R130: two reducer steps of one state_key run one after the other, also in PARALLEL."""
    compiled = plan(step("a", "s"), step("b", "s"), step("c", "other"), parallel=True)
    assert machine.decide(compiled, machine.begin(compiled), 0.0).pure == ((0,), (2,))
    progress = play(compiled, machine.Dispatched((0,)), machine.Succeeded(0, has_intents=True))
    decision = machine.decide(compiled, progress, 0.0)
    assert decision.intents == (0,)
    assert (1,) not in decision.pure


def test_a_step_with_intents_is_done_when_they_are() -> None:
    """R84, F26: a transition's intents are executed after it, and what follows waits for them."""
    compiled = plan(step("place", "s"), step("after", "effect"))
    progress = play(compiled, machine.Dispatched((0,)), machine.Succeeded(0, has_intents=True))
    assert statuses(progress) == [INTENTS, PENDING]
    assert machine.decide(compiled, progress, 0.0) == machine.Decision(intents=(0,))
    progress = machine.evolve(compiled, progress, machine.IntentsDispatched(0))
    assert machine.decide(compiled, progress, 0.0) == machine.Decision()
    progress = machine.evolve(compiled, progress, machine.IntentsExecuted(0))
    assert machine.decide(compiled, progress, 0.0).effects == (1,)


@pytest.mark.parametrize("parallel", [False, True])
def test_one_policy_for_all_patterns_retry(parallel: bool) -> None:
    """R103, F30: a matching failure with budget is retried, in SEQUENTIAL and PARALLEL alike."""
    compiled = plan(step("a", "effect"), parallel=parallel, retry_enabled=True, max_retries=1)
    progress = play(compiled, machine.Dispatched((0,)), machine.Failed(0, TEMPORARY, now=100.0))
    assert statuses(progress) == [RETRYING]
    assert machine.decide(compiled, progress, 100.0).wake_at == pytest.approx(100.1)
    assert machine.decide(compiled, progress, 100.2).effects == (0,)
    progress = machine.evolve(compiled, progress, machine.Dispatched((0,)))
    progress = machine.evolve(compiled, progress, machine.Failed(0, TEMPORARY, now=101.0))
    assert (progress.status, progress.steps[0].attempts) == (workflow_pb2.WORKFLOW_STATUS_ABORTED, 2)


@pytest.mark.parametrize("parallel", [False, True])
def test_one_policy_for_all_patterns_skip(parallel: bool) -> None:
    """R103, R105: without a retry left, continue_on_error skips and the workflow completes."""
    compiled = plan(step("a", "effect"), step("b", "effect"), parallel=parallel, continue_on_error=True)
    progress = play(compiled, machine.Dispatched((0,)), machine.Failed(0, PERMANENT, now=0.0))
    assert statuses(progress)[0] == SKIPPED
    progress = machine.evolve(compiled, progress, machine.Dispatched((1,)))
    progress = machine.evolve(compiled, progress, machine.Succeeded(1))
    assert progress.status == workflow_pb2.WORKFLOW_STATUS_COMPLETED


def test_abort_cancels_siblings() -> None:
    """R104, R109: an abort fails the step, cancels its unfinished siblings and keeps those that are done."""
    compiled = plan(step("a", "effect"), step("b", "effect"), step("c", "effect"), parallel=True)
    progress = play(
        compiled,
        machine.Dispatched((0,)),
        machine.Dispatched((1,)),
        machine.Dispatched((2,)),
        machine.Succeeded(0),
        machine.Failed(1, PERMANENT, now=0.0),
    )
    assert statuses(progress) == [DONE, FAILED, CANCELLED]
    assert (progress.status, progress.error) == (workflow_pb2.WORKFLOW_STATUS_ABORTED, PERMANENT)
    assert machine.decide(compiled, progress, 0.0).finished


def test_retry_only_on_the_reasons_named() -> None:
    """R102, R103, F32: retry_conditions are reasons; another reason is not retried."""
    compiled = plan(step("a", "effect"), retry_enabled=True, max_retries=5, retry_conditions=["CIRCUIT_OPEN"])
    progress = play(compiled, machine.Dispatched((0,)), machine.Failed(0, TEMPORARY, now=0.0))
    assert statuses(progress) == [FAILED]


def test_a_broken_chain_keeps_what_came_before() -> None:
    """R103: of a chain a, b, c with b failing, a is done, b is retried and c has used no attempt."""
    compiled = plan(step("a"), step("b"), step("c"), retry_enabled=True, max_retries=1)
    progress = play(
        compiled,
        machine.Dispatched((0, 1, 2)),
        machine.Succeeded(0),
        machine.Failed(1, TEMPORARY, now=0.0),
        machine.NotReached((2,)),
    )
    assert statuses(progress) == [DONE, RETRYING, PENDING]
    assert [row.attempts for row in progress.steps] == [1, 1, 0]


def test_failed_intents_are_retried_without_the_transition() -> None:
    """R87, F26: what is repeated after failed intents is the intents; the transition stands."""
    compiled = plan(step("a", "s"), retry_enabled=True, max_retries=1)
    progress = play(
        compiled,
        machine.Dispatched((0,)),
        machine.Succeeded(0, has_intents=True),
        machine.IntentsDispatched(0),
        machine.Failed(0, TEMPORARY, now=0.0),
    )
    decision = machine.decide(compiled, progress, 10.0)
    assert (decision.intents, decision.pure) == ((0,), ())


def test_recovery_hands_out_again_what_was_under_way() -> None:
    """R94: a new owner repeats what the old one had handed out, with the same number of attempts."""
    compiled = plan(step("a", "effect"), step("b", "s"), parallel=True)
    progress = play(
        compiled,
        machine.Dispatched((0,)),
        machine.Dispatched((1,)),
        machine.Succeeded(1, has_intents=True),
        machine.IntentsDispatched(1),
    )
    recovered = machine.recover(progress)
    decision = machine.decide(compiled, recovered, 0.0)
    assert (decision.effects, decision.intents) == ((0,), (1,))
    again = machine.evolve(compiled, recovered, machine.Dispatched((0,)))
    assert again.steps[0].attempts == 1


def test_events_after_the_end_change_nothing() -> None:
    """R109: the result of a cancelled sibling comes too late."""
    compiled = plan(step("a", "effect"), step("b", "effect"), parallel=True)
    ended = play(compiled, machine.Dispatched((0,)), machine.Dispatched((1,)), machine.Failed(0, PERMANENT, now=0.0))
    assert machine.evolve(compiled, ended, machine.Succeeded(1)) == ended


def test_parallelism_is_the_most_that_was_under_way() -> None:
    """R111: parallelism_achieved."""
    compiled = plan(step("a", "effect"), step("b", "effect"), step("c", "effect", "a"), parallel=True)
    progress = play(
        compiled, machine.Dispatched((0,)), machine.Dispatched((1,)), machine.Succeeded(0), machine.Dispatched((2,))
    )
    assert progress.parallelism == 2


@pytest.mark.parametrize(
    ("steps", "field"),
    [
        ([], "workflow_config.steps"),
        ([step("1a")], "workflow_config.steps[0].step_id"),
        ([step("a"), step("a")], "workflow_config.steps[1].step_id"),
        ([workflow_pb2.Step(step_id="a")], "workflow_config.steps[0].command"),
        ([step("a", "compute", "nope")], "workflow_config.steps[0].depends_on[0]"),
        ([step("a", "compute", reads="nope")], "workflow_config.steps[0].command"),
        ([step("a", "compute", "b"), step("b", "compute", "a")], "workflow_config.steps"),
        ([step("a", "compute", "a")], "workflow_config.steps"),
    ],
)
def test_wrong_contracts_are_refused_with_the_field(steps: list[workflow_pb2.Step], field: str) -> None:
    """R98, F31: no steps, bad or double ids, no command, unknown dependencies and circles, each by its field."""
    with pytest.raises(ValidationError) as caught:
        plan(*steps, parallel=True)
    assert field in [name for name, _ in caught.value.violations]


def test_a_command_for_another_kind_of_node_is_refused() -> None:
    """R98, R120: target_node_type must be the command's."""
    wrong = step("a", "effect")
    wrong.target_node_type = common_pb2.NODE_KIND_COMPUTE
    with pytest.raises(ValidationError, match="the command is for EFFECT, not COMPUTE"):
        plan(wrong)


def test_sequential_steps_cannot_read_what_comes_later() -> None:
    """R97: in a SEQUENTIAL workflow a template that reads a later step is refused."""
    with pytest.raises(ValidationError, match="comes later"):
        plan(step("a", "compute", reads="b"), step("b"))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_order_of_results_completes_any_graph(data: st.DataObject) -> None:
    """R108, R111: whatever the graph and the order of results, every step runs exactly once and after its inputs."""
    count = data.draw(st.integers(1, 8))
    kinds = [data.draw(st.sampled_from(["compute", "effect", "s"])) for _ in range(count)]
    needs = [[f"s{j}" for j in range(i) if data.draw(st.booleans())] if i else [] for i in range(count)]
    compiled = plan(*(step(f"s{i}", kinds[i], *needs[i]) for i in range(count)), parallel=True)
    progress = machine.begin(compiled)
    flying: list[tuple[int, ...]] = []
    order: list[int] = []
    while not progress.final:
        decision = machine.decide(compiled, progress, 0.0)
        for group in (*decision.pure, *((i,) for i in decision.effects)):
            progress = machine.evolve(compiled, progress, machine.Dispatched(group))
            flying.append(group)
        assert flying, "nothing is under way and nothing is to do"
        for index in flying.pop(data.draw(st.integers(0, len(flying) - 1))):
            assert all(progress.steps[need].status == DONE for need in compiled.steps[index].depends_on)
            progress = machine.evolve(compiled, progress, machine.Succeeded(index))
            order.append(index)
    assert sorted(order) == list(range(count))
    assert progress.status == workflow_pb2.WORKFLOW_STATUS_COMPLETED
