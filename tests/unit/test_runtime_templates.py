"""Templates in commands: where they may stand, what they give, and how they are refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from google.protobuf import struct_pb2

from onex.v1 import action_pb2, common_pb2, compute_pb2, effect_pb2, intent_pb2, reducer_pb2
from onex_mesh.runtime.command_fields import fields_of
from onex_mesh.runtime.errors import PayloadTooLargeError, ValidationError
from onex_mesh.runtime.payload import (
    ARROW_TYPE,
    bytes_payload,
    from_payload,
    from_struct,
    from_value,
    json_payload,
    to_struct,
    to_value,
)
from onex_mesh.runtime.templates import TEMPLATES_MAX, Scope, compile_command, compile_value

TEMPLATES_PAGE = Path(__file__).resolve().parents[2] / "docs" / "templates.md"
TABLE = bytes_payload(b"\x00\x01arrow", ARROW_TYPE)


def scope(**changes: object) -> Scope:
    """What the templates of these tests read."""
    given: dict[str, object] = {
        "input": json_payload({"file": "a.json", "count": 3, "tags": ["x", "y"], "nothing": None, "odd-key": 7}),
        "steps": {
            "read": json_payload({"rows": [{"qty": 2, "price": 2.5}, {"qty": 1, "price": 4}], "ok": True}),
            "table": TABLE,
            "text": bytes_payload(b'{"parsed": 1}', "application/json"),
        },
        "params": to_struct({"limit": 10, "names": {"first": "Ada"}}),
        "workflow": {"id": "w-1", "correlation_id": "c-1", "name": "order"},
        "statuses": {"optional": "skipped"},
    }
    given.update(changes)
    return Scope(**given)  # type: ignore[arg-type]  # as above


def resolved(template: object) -> object:
    """The plain value that a JSON value with templates comes to."""
    return from_payload(compile_value(to_value(template)).resolve(scope()))


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("${input.file}", "a.json"),
        ("${input.count}", 3),
        ("${input.tags}", ["x", "y"]),
        ("${input.tags[1]}", "y"),
        ("${input.nothing}", None),
        ('${input["odd-key"]}', 7),
        ("${ steps.read.output.ok }", True),
        ("${steps.read.output.rows[0].price}", 2.5),
        ("${steps.read.output.rows[1]}", {"qty": 1, "price": 4}),
        ("${steps.text.output.parsed}", 1),
        ("${steps.optional.status}", "skipped"),
        ("${steps.optional.output}", None),
        ("${steps.read.status}", "completed"),
        ("${params.limit}", 10),
        ("${params.names.first}", "Ada"),
        ("${workflow.id}", "w-1"),
        ("${workflow}", {"id": "w-1", "correlation_id": "c-1", "name": "order"}),
        ("${params}", {"limit": 10, "names": {"first": "Ada"}}),
        ("${steps.read.output.rows.map(r, r.qty * r.price)}", [5.0, 4]),
        ("${has(steps.read.output.missing) ? 1 : 2}", 2),
        ("${{'a': input.count + 1}}", {"a": 4}),
        ("${'}' + input.file}", "}a.json"),
        ("${steps['read'].output.rows.size()}", 2),
        ("${input.count > 2 && input.file.endsWith('.json')}", True),
        ("${timestamp('2026-01-02T03:04:05Z')}", "2026-01-02T03:04:05+00:00"),
        ("${input.count / 2}", 1),
        ("${input.count / 2.0}", 1.5),
    ],
)
def test_a_single_template_keeps_the_type_of_its_value(template: str, value: object) -> None:
    """R106: what a step returned is read by later ones, with its type; paths and CEL give the same."""
    assert resolved(template) == value


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("in/${input.file}", "in/a.json"),
        ("${workflow.id}:${input.count}:${steps.read.output.ok}", "w-1:3:true"),
        ("${steps.read.output.rows[0].price} EUR", "2.5 EUR"),
        ("${steps.read.output.rows[1].price * 1.0} EUR", "4 EUR"),
        ("costs $${input.count}", "costs ${input.count}"),
        ("$${a} ${input.count} $${b}", "${a} 3 ${b}"),
        ("$5 and ${input.count}", "$5 and 3"),
        ("$$", "$$"),
        ("{plain}", "{plain}"),
    ],
)
def test_several_templates_are_joined_as_text(template: str, text: str) -> None:
    """R106: strings around templates make the whole a string; "$${" stands for "${"."""
    assert resolved(template) == text


def test_templates_are_found_at_any_depth() -> None:
    """R106: lists and objects are searched; what holds no template stays as it is."""
    given = {"a": [{"b": "${input.count}"}, "plain", 7], "c": {"d": ["${input.tags[0]}", None, True]}}
    assert resolved(given) == {"a": [{"b": 3}, "plain", 7], "c": {"d": ["x", None, True]}}


@pytest.mark.parametrize(("left", "right"), [("2", "2.5"), ("2.5", "2"), ("2.0", "2.5")])
@pytest.mark.parametrize("operation", ["+", "-", "*", "/"])
def test_whole_and_other_numbers_mix(left: str, right: str, operation: str) -> None:
    """JSON does not tell 2 from 2.0, so arithmetic must not depend on which of both a number happens to be."""
    assert resolved(f"${{{left} {operation} {right}}}") == pytest.approx(eval(f"{left} {operation} {right}"))  # noqa: S307  # two literals of this test


def test_every_place_of_an_effect() -> None:
    """R106: parameters, body, idempotency key and cache key of an effect may hold templates; its target may not."""
    effect = effect_pb2.EffectContract(idempotency_key="order-${input.count}", metadata={"m": "${input.count}"})
    effect.external_service_config.target = "${input.file}"
    effect.cache.key = "${workflow.id}"
    effect.io_operation_config.operation = "${input.file}"
    effect.io_operation_config.parameters.CopyFrom(to_struct({"path": "out/${input.file}", "n": "${input.count}"}))
    effect.io_operation_config.body.CopyFrom(json_payload("${steps.table.output}"))
    command = compile_command(action_pb2.Command(effect=effect)).resolve(scope())
    assert command.effect.idempotency_key == "order-3"
    assert command.effect.cache.key == "w-1"
    assert from_struct(command.effect.io_operation_config.parameters) == {"path": "out/a.json", "n": 3}
    assert command.effect.io_operation_config.body == TABLE
    assert command.effect.external_service_config.target == "${input.file}"
    assert command.effect.io_operation_config.operation == "${input.file}"
    assert dict(command.effect.metadata) == {"m": "${input.count}"}


def test_every_place_of_a_computation() -> None:
    """R106: input, parameters and cache key of a computation may hold templates."""
    compute = compute_pb2.ComputeContract(input_data=json_payload("${steps.read.output}"))
    compute.algorithm_config.algorithm_type = "sum"
    compute.algorithm_config.parameters.CopyFrom(to_struct({"limit": "${params.limit}"}))
    compute.cache.key = "k-${input.count}"
    command = compile_command(action_pb2.Command(compute=compute)).resolve(scope())
    assert command.compute.input_data == scope().steps["read"]
    assert from_struct(command.compute.algorithm_config.parameters) == {"limit": 10}
    assert command.compute.cache.key == "k-3"
    compute.inputs["right"].CopyFrom(json_payload("${steps.read.output}"))
    compute.inputs["limits"].CopyFrom(json_payload({"most": "${params.limit}"}))
    template = compile_command(action_pb2.Command(compute=compute))
    assert template.reads == {"read"}
    inputs = template.resolve(scope()).compute.inputs
    assert inputs["right"] == scope().steps["read"]
    assert from_payload(inputs["limits"]) == {"most": 10}
    compute.inputs["right"].CopyFrom(json_payload(["${steps.}"]))
    with pytest.raises(ValidationError, match=r"compute\.inputs\.right\[0\]"):
        compile_command(action_pb2.Command(compute=compute))


def test_every_place_of_a_reduction() -> None:
    """R106: input, action payload and parameters of a reduction may hold templates; its state may not."""
    reduction = reducer_pb2.ReducerContract(input_data=json_payload({"t": "${input.tags}"}))
    reduction.fsm_action.payload.CopyFrom(json_payload({"id": "${workflow.id}"}))
    reduction.reduction_config.parameters.CopyFrom(to_struct({"by": "${params.names.first}"}))
    reduction.current_state.CopyFrom(json_payload({"note": "${input.file}"}))
    command = compile_command(action_pb2.Command(reduction=reduction)).resolve(scope())
    assert from_payload(command.reduction.input_data) == {"t": ["x", "y"]}
    assert from_payload(command.reduction.fsm_action.payload) == {"id": "w-1"}
    assert from_struct(command.reduction.reduction_config.parameters) == {"by": "Ada"}
    # A state holds what people typed: it is data, never a template.
    assert from_payload(command.reduction.current_state) == {"note": "${input.file}"}


def test_payloads_of_intents_in_a_command() -> None:
    """R106: the payloads of intents that a workflow names itself may hold templates."""
    intents = [intent_pb2.Intent(target="t", payload=to_struct({"to": f"${{input.tags[{n}]}}"})) for n in range(2)]
    command = compile_command(action_pb2.Command(intents=intent_pb2.IntentBatch(intents=intents))).resolve(scope())
    assert [from_struct(intent.payload) for intent in command.intents.intents] == [{"to": "x"}, {"to": "y"}]


def test_a_whole_output_passes_as_it_is() -> None:
    """R147: bytes, such as an Arrow table, go from step to step untouched, with their content type."""
    compute = compute_pb2.ComputeContract(input_data=json_payload("${steps.table.output}"))
    command = compile_command(action_pb2.Command(compute=compute)).resolve(scope())
    assert command.compute.input_data == TABLE
    assert compile_value(to_value("${steps.table.output}")).resolve(scope()) == TABLE
    location = common_pb2.Payload(location=common_pb2.PayloadLocation(uri="x", digest="d", size_bytes=1))
    whole = compile_value(to_value("${input}")).resolve(scope(input=location))
    assert whole == location


def test_bytes_within_json_are_refused() -> None:
    """F22: bytes cannot become a part of JSON; the error names the field."""
    template = compile_value(to_value({"a": {"b": "${steps.table.output}"}}))
    with pytest.raises(ValidationError, match=r"^a\.b: a (bytes|bytearray) cannot be JSON"):
        template.resolve(scope())


def test_a_payload_that_is_elsewhere_cannot_be_looked_into() -> None:
    """A template cannot read within a payload that was not fetched; the error names field and expression."""
    location = common_pb2.Payload(location=common_pb2.PayloadLocation(uri="x", digest="d", size_bytes=1))
    with pytest.raises(ValidationError, match=r"f: \$\{input\.a\}: the payload is stored elsewhere"):
        compile_value(to_value({"f": "${input.a}"})).resolve(scope(input=location))


def test_a_constant_command_is_returned_as_it_is() -> None:
    """A command without templates costs nothing: the same object, not a copy."""
    command = action_pb2.Command(compute=compute_pb2.ComputeContract(input_data=json_payload([1, 2, 3])))
    template = compile_command(command)
    assert template.is_constant
    assert template.reads == frozenset()
    assert template.resolve(scope()) is command


def test_resolving_leaves_the_template_as_it_was() -> None:
    """A template is compiled once and resolved many times."""
    template = compile_command(
        action_pb2.Command(compute=compute_pb2.ComputeContract(input_data=json_payload({"n": "${input.count}"})))
    )
    first = template.resolve(scope())
    second = template.resolve(scope(input=json_payload({"count": 9})))
    assert from_payload(first.compute.input_data) == {"n": 3}
    assert from_payload(second.compute.input_data) == {"n": 9}


@pytest.mark.parametrize(
    ("template", "steps"),
    [
        ("${steps.a.output.x}", {"a"}),
        ("${steps['b'].output + steps[\"c\"].output}", {"b", "c"}),
        ("${steps.a.output} and ${steps.d.status}", {"a", "d"}),
        ("${input.steps.a}", set()),
        ("${'steps.a' + input.file}", set()),
        ("$${steps.a.output}", set()),
        ("steps.a.output", set()),
    ],
)
def test_the_steps_that_are_read_are_known(template: str, steps: set[str]) -> None:
    """R108: what a template reads makes the dependencies of its step."""
    assert compile_value(to_value({"x": [template]})).reads == frozenset(steps)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("${}", "the template is empty"),
        ("${input.", "is not closed"),
        ("${input..a}", "is not CEL: .*[Ss]yntax error"),
        ("${nobody.knows}", "undeclared reference to 'nobody"),
        ("${steps[input.file].output}", "must be followed by the name of a step"),
        ("${'a' in steps}", "must be followed by the name of a step"),
        ("${steps}", "must be followed by the name of a step"),
        ("${" + "1+" * 3000 + "1}", "characters; at most 4096"),
    ],
)
def test_bad_templates_are_refused_when_compiled(template: str, text: str) -> None:
    """A workflow with a bad template never starts; the error names the path of the field."""
    with pytest.raises(ValidationError, match=text) as refused:
        compile_value(to_value({"rows": [1, {"f": template}]}))
    assert refused.value.violations[0][0] == "rows[1].f"


def test_all_bad_templates_are_named_at_once() -> None:
    """Each violation carries its own path within the command."""
    compute = compute_pb2.ComputeContract(input_data=json_payload(["${", "ok", "${1 +}"]))
    compute.algorithm_config.parameters.CopyFrom(to_struct({"p": "${x}"}))
    with pytest.raises(ValidationError) as refused:
        compile_command(action_pb2.Command(compute=compute))
    assert [field for field, _ in refused.value.violations] == [
        "compute.input_data[0]",
        "compute.input_data[2]",
        "compute.algorithm_config.parameters.p",
    ]


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("${input.missing}", r"f: \$\{input\.missing\}: Key not found in map : \"missing\""),
        ("${input.tags[7]}", r"f: \$\{input\.tags\[7\]\}: .*out of bounds|[Ii]ndex"),
        ("${steps.unknown.output}", r"f: \$\{steps\.unknown\.output\}: Key not found"),
        ("${input.file + 1}", r"f: \$\{input\.file \+ 1\}: No matching overloads"),
        ("${input.count / 0}", r"f: .*divide by zero"),
        ("${9007199254740993 + 0}", r"f: the integer 9007199254740993 is beyond"),
        ("${1.0 / 0}", r"f: inf is not JSON"),
        ("x${input.nothing}", r"f: \$\{input\.nothing\} is null and cannot stand within a text"),
        ("x${input.tags}", r"f: \$\{input\.tags\} is a list and cannot stand within a text"),
        ("${duration('1s')}", r"f: a timedelta cannot be JSON"),
    ],
)
def test_failing_expressions_name_field_and_expression(template: str, text: str) -> None:
    """R18, R37: what cannot be resolved is refused before anything happens, with the path of its field."""
    with pytest.raises(ValidationError, match=text):
        resolved({"f": template})


def test_an_empty_key_is_refused() -> None:
    """R9: an idempotency key that resolves to nothing would silently switch the protection off."""
    effect = effect_pb2.EffectContract(idempotency_key="${input.file}")
    with pytest.raises(ValidationError, match=r"effect\.idempotency_key: the template gives an empty string"):
        compile_command(action_pb2.Command(effect=effect)).resolve(scope(input=json_payload({"file": ""})))


def test_what_was_resolved_is_not_resolved_again() -> None:
    """Data that looks like a template stays data: outputs and inputs are never evaluated."""
    hostile = scope(input=json_payload({"name": "${workflow.id}"}))
    template = compile_value(to_value({"a": "${input.name}", "b": "to ${input.name}"}))
    assert from_payload(template.resolve(hostile)) == {"a": "${workflow.id}", "b": "to ${workflow.id}"}


def test_depth_is_bounded() -> None:
    """A value nested too deep is refused when compiled, with a path, not with a crash."""
    value = struct_pb2.Value()
    innermost = value
    for _ in range(40):
        innermost = innermost.list_value.values.add()
    innermost.string_value = "${input.count}"
    with pytest.raises(ValidationError, match="nested too deep"):
        compile_value(value)


@pytest.mark.parametrize("template", ["${input}", "${[input][0]}"])
def test_outputs_put_into_each_other_stay_readable(template: str) -> None:
    """A workflow whose steps wrap each other's output is refused before its messages are too deep for any parser."""
    wrapping = compile_value(to_value({"inner": template}))
    wrapped = json_payload(1)
    for _ in range(20):
        wrapped = wrapping.resolve(scope(input=wrapped))
    with pytest.raises(ValidationError, match=r"^inner.*: nested too deep: at most 20 objects"):
        wrapping.resolve(scope(input=wrapped))
    # What was let through fits into what carries it.
    action = action_pb2.Action(command_payload=action_pb2.Command(chain=action_pb2.CommandChain()))
    context = action.command_payload.chain.context.fields["steps"].struct_value.fields["s"].struct_value
    context.fields["output"].CopyFrom(wrapped.json)
    frame = action_pb2.DispatchRequest(actions=[action])
    assert action_pb2.DispatchRequest.FromString(frame.SerializeToString()) == frame


def test_the_number_of_templates_is_bounded() -> None:
    """Each template may bring a whole output, so their number is bounded."""
    with pytest.raises(ValidationError, match=f"{TEMPLATES_MAX + 1} strings with templates"):
        compile_value(to_value(["${input.count}"] * (TEMPLATES_MAX + 1)))


def test_the_size_of_a_resolved_command_is_bounded() -> None:
    """A small command must not become a huge one: many templates of one large output are refused."""
    compute = compute_pb2.ComputeContract(input_data=json_payload(["${input.blob}"] * 20))
    template = compile_command(action_pb2.Command(compute=compute))
    with pytest.raises(PayloadTooLargeError, match="at most 16777216"):
        template.resolve(scope(input=json_payload({"blob": "x" * 1_000_000})))


def test_paths_copy_and_never_alias() -> None:
    """Changing a resolved command leaves what the templates read as it was."""
    here = scope()
    command = compile_command(
        action_pb2.Command(compute=compute_pb2.ComputeContract(input_data=json_payload("${input.tags}")))
    ).resolve(here)
    command.compute.input_data.json.list_value.values[0].string_value = "changed"
    assert from_value(here.input.json.struct_value.fields["tags"]) == ["x", "y"]


@pytest.mark.parametrize("kind", ["effect", "compute", "reduction"])
def test_the_page_names_the_fields_that_there_are(kind: str) -> None:
    """docs/templates.md: its table names exactly the fields that may hold a template."""
    page = TEMPLATES_PAGE.read_text(encoding="utf-8")
    row = re.search(rf"^\| {kind} \| (.*) \|$", page, re.MULTILINE)
    assert row is not None
    command = action_pb2.Command()
    getattr(command, kind).SetInParent()
    if kind == "compute":
        command.compute.inputs["<name>"].SetInParent()
    named = {f"{kind}.{name}" for name in re.findall(r"`([a-z_.<>]+)`", row[1])}
    assert named == {field.at for field in fields_of(command)}


INPUT, ROWS = ("input",), ("steps", "rows", "output")


@pytest.mark.parametrize(
    ("template", "opened"),
    [
        ("${steps.rows.output}", set()),
        ("${input}", set()),
        ("${steps.rows.output.a}", {ROWS}),
        ("${steps.rows.output[0]}", {ROWS}),
        ("${steps.rows}", {ROWS}),
        ("all: ${steps.rows.output}", {ROWS}),
        ("${size(steps.rows.output) + input.n}", {ROWS, INPUT}),
        ("${input.a.output}", {INPUT}),
        ("${steps.rows.status}", set()),
        ({"rows": "${steps.rows.output}"}, {ROWS}),
        ("${params.a}", set()),
    ],
)
def test_what_a_template_looks_into_is_known(template: object, opened: set[tuple[str, ...]]) -> None:
    """R147: a payload that only passes a whole one on needs no content; everything else does."""
    command = action_pb2.Command()
    command.compute.input_data.CopyFrom(json_payload(template))
    assert compile_command(command).opens == opened
    assert compile_value(to_value(template)).opens == opened


def test_a_struct_takes_contents() -> None:
    """R147: the parameters of an effect cannot hold a location."""
    command = action_pb2.Command()
    command.effect.io_operation_config.parameters.update({"rows": "${steps.rows.output}"})
    command.effect.io_operation_config.body.CopyFrom(json_payload("${input}"))
    assert compile_command(command).opens == {ROWS}
