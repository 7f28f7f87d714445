"""Workflow definitions from YAML: what they become, and what is said of those that do not fit."""

from __future__ import annotations

from pathlib import Path

import pytest

from onex.v1 import common_pb2, workflow_pb2
from onex_mesh.app.scalar_form import duration_seconds
from onex_mesh.app.workflow_file import load_workflow, workflow_contract
from onex_mesh.runtime.document import parse_document
from onex_mesh.runtime.errors import ValidationError
from onex_mesh.runtime.payload import from_value

ORDER = """\
name: order
version: "1.0.0"
coordination_type: SEQUENTIAL
durability: every_step
steps:
  - step_id: read
    timeout: 1m30s
    parameters: {limit: 3}
    effect:
      external_service_config: {target: inbox, timeout: 250ms}
      io_operation_config:
        effect_type: file_operation
        operation: read
        parameters: {path: "${input.file}"}
  - step_id: price
    depends_on: [read]
    compute: {algorithm_config: {algorithm_type: price_order}, input_data: "${steps.read.output}"}
  - step_id: place
    command:
      reduction:
        reduction_config: {reducer: order, state_key: order}
        fsm_action: {action: PLACE_ORDER, payload: {json: {lines: [1, 2.5, null]}}}
output: {order: "${steps.place.output}"}
conflict_resolution: {retry_enabled: true, max_retries: 3, retry_config: {initial_backoff: 0.05}}
dependency_resolution:
  - {service_name: effect, version_constraint: ">=1.0", dependency_type: OPTIONAL}
timeout: 2h
metadata: {team: shop}
"""


def contract(text: str) -> workflow_pb2.OrchestratorContract:
    return workflow_contract(parse_document(text, "order.yaml"))


def refusal(text: str) -> str:
    with pytest.raises(ValidationError) as caught:
        contract(text)
    return caught.value.message


def test_a_definition_becomes_the_contract_it_describes() -> None:
    """R96–R99, R102: every field of the contract can be written in YAML, in the friendly forms."""
    got = contract(ORDER)
    config = got.workflow_config
    assert (config.name, config.version) == ("order", "1.0.0")
    assert config.coordination_type == workflow_pb2.COORDINATION_TYPE_SEQUENTIAL
    assert config.durability == workflow_pb2.DURABILITY_EVERY_STEP
    assert [step.step_id for step in config.steps] == ["read", "price", "place"]
    read, price, place = config.steps
    assert read.timeout.ToMilliseconds() == 90_000
    assert read.parameters["limit"] == 3
    assert read.command.effect.external_service_config.timeout.ToMilliseconds() == 250
    assert read.command.effect.io_operation_config.parameters["path"] == "${input.file}"
    assert list(price.depends_on) == ["read"]
    assert price.command.compute.input_data.json.string_value == "${steps.read.output}"
    assert from_value(place.command.reduction.fsm_action.payload.json) == {"lines": [1, 2.5, None]}
    assert from_value(config.output) == {"order": "${steps.place.output}"}
    assert got.conflict_resolution.max_retries == 3
    assert got.conflict_resolution.retry_config.initial_backoff.ToMilliseconds() == 50
    assert got.dependency_resolution[0].dependency_type == workflow_pb2.DEPENDENCY_TYPE_OPTIONAL
    assert got.timeout.seconds == 7200
    assert dict(got.metadata) == {"team": "shop"}
    assert not got.workflow_id


def test_further_inputs_of_a_computation() -> None:
    """R31: each a payload: JSON as it is, templates, or a payload's own form."""
    joined = """
name: joined
version: "1.0.0"
steps:
  - step_id: join
    compute:
      algorithm_config: {algorithm_type: join, parameters: {on: [sku]}}
      input_data: "${input}"
      inputs: {right: [{sku: a}], other: "${input.rows}", raw: {data: aGk=, content_type: text/plain}}
"""
    inputs = contract(joined).workflow_config.steps[0].command.compute.inputs
    assert from_value(inputs["right"].json) == [{"sku": "a"}]
    assert inputs["other"].json.string_value == "${input.rows}"
    assert (inputs["raw"].data, inputs["raw"].content_type) == (b"hi", "text/plain")


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("timeout: 1m30s", "timeot: 5s", "order.yaml:7: steps[0].timeot: unknown key 'timeot'; did you mean 'timeout'"),
        (
            "SEQUENTIAL",
            "SEQUENTAL",
            "order.yaml:3: coordination_type: 'SEQUENTAL' is not known; did you mean SEQUENTIAL?",
        ),
        ('"1.0.0"', "1.5", "order.yaml:2: version: expected text, found the number 1.5; put it in quotes"),
        (
            "max_retries: 3",
            "max_retries: many",
            "conflict_resolution.max_retries: expected a whole number, found the text",
        ),
        ("max_retries: 3", "max_retries: 99999999999", "is not within -2147483648 to 2147483647"),
        ("retry_enabled: true", "retry_enabled: 1", "expected true or false, found the number 1"),
        ("1m30s", "soon", 'expected a duration such as "5s", "250ms" or "1m30s", found the text \'soon\''),
        ("[read]", "read", "steps[1].depends_on: expected a list, found the text 'read'"),
        ("{team: shop}", "[a]", "metadata: expected a mapping, found a list"),
        ("name: order\n", "name:\n", "order.yaml:1: name: has no value"),
        ("timeout: 2h", "workflow_id: a", "is not part of a definition: give it when the workflow is started"),
        ("    command:\n", "    compute: {}\n    command:\n", "a step has one command; 'compute' is there already"),
        ("{json: {lines: [1, 2.5, null]}}", "{json: 1, data: aGk=}", "only one of 'json' and 'data' can be given"),
        (
            "{limit: 3}",
            "{limit: 9007199254740993}",
            "steps[0].parameters.limit: the integer 9007199254740993 is beyond",
        ),
        ("initial_backoff: 0.05", "jitter: a lot", "retry_config.jitter: expected a number, found the text 'a lot'"),
        ('path: "${input.file}"', "path: 1, path: 2", "parameters.path: the key is there twice"),
        ("timeout: 2h", "timeout: {<<: 1}", "merge keys (<<) are not supported"),
        ("timeout: 2h", "timeout: [", "not valid YAML"),
    ],
)
def test_what_does_not_fit_is_refused_with_line_and_field(before: str, after: str, message: str) -> None:
    """Issue 2 §5: a definition that does not fit is refused with file, line, field and what was expected."""
    assert before in ORDER
    assert message in refusal(ORDER.replace(before, after))


def test_all_violations_are_told_at_once_in_the_order_of_lines() -> None:
    """R3: nobody has to fix a definition one error at a time."""
    lines = refusal("steps:\n  - {step_id: 1, compute: {}}\nverison: a\ncolour: red\n").splitlines()
    assert [line.partition(": ")[0] for line in lines] == ["order.yaml:2", "order.yaml:3", "order.yaml:4"]
    assert "did you mean 'version'?" in lines[1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "order.yaml: the document is empty"),
        ("- a", "order.yaml:1: a workflow is a mapping, found a list"),
        ("name: order", "a workflow has at least one step"),
        ("steps: [{step_id: a, compute: {}}]", "a workflow needs a name"),
        ("a: b\n---\nc: d", "not valid YAML"),
        ("name: &a [*a]", "does an alias refer to itself?"),
        ("name: !!python/object:os.system x", "not valid YAML"),
        ("{1: 2, [a]: 3}", "a key must be a plain string"),
        ("at: 2026-99-01", "order.yaml:1: at: "),
    ],
)
def test_what_is_no_definition_at_all_is_refused(text: str, message: str) -> None:
    """Text that is no workflow ends with one clear message, never with a parser's traceback."""
    assert message in refusal(text)


def test_payload_forms() -> None:
    """INTERFACES: a Payload is taken as its JSON unless it is written as json, data or location."""
    form = "name: a\nsteps: [{{step_id: s, compute: {{algorithm_config: {{algorithm_type: x}}, input_data: {}}}}}]"

    def payload(text: str) -> common_pb2.Payload:
        return contract(form.format(text)).workflow_config.steps[0].command.compute.input_data

    assert from_value(payload("[1, 2]").json) == [1, 2]
    assert payload("null").json.HasField("null_value")
    assert payload("{data: aGk=, content_type: text/plain}").data == b"hi"
    assert payload("{location: {uri: a/b, size_bytes: 5}}").location.size_bytes == 5
    assert from_value(payload("{json: 1, other: 2}").json) == {"json": 1, "other": 2}
    assert payload("!!binary aGk=").data == b"hi"
    with pytest.raises(ValidationError, match="expected Base64 text"):
        payload("{data: '***'}")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("5s", 5.0),
        ("250ms", 0.25),
        ("1m30s", 90.0),
        ("1h 2m", 3720.0),
        ("1.5s", 1.5),
        ("2d", 172_800.0),
        (3, 3.0),
        (0.5, 0.5),
        ("5", None),
        ("s", None),
        ("-5s", None),
        (True, None),
        (-1, None),
        (None, None),
        ("5 s x", None),
    ],
)
def test_durations(value: object, seconds: float | None) -> None:
    """Durations are written with units; a plain number is seconds; anything else is refused."""
    assert duration_seconds(value) == pytest.approx(seconds)


def test_files(tmp_path: Path) -> None:
    """A file that cannot be read is named in the error."""
    path = tmp_path / "order.yaml"
    path.write_text(ORDER, encoding="utf-8")
    assert load_workflow(path).workflow_config.name == "order"
    with pytest.raises(ValidationError, match=r"missing\.yaml: cannot be read: No such file"):
        load_workflow(tmp_path / "missing.yaml")
    path.write_bytes(b"name: \xff")
    with pytest.raises(ValidationError, match="not UTF-8"):
        load_workflow(path)
