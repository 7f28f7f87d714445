"""Subscriptions as they are declared, events as they are read, and what becomes of an event."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from onex.v1 import orchestrator_pb2, workflow_pb2
from onex_mesh.effect.core.event_mapping import mapping_of
from onex_mesh.effect.core.events import CloudEvent, read_event
from onex_mesh.effect.core.settling import is_temporary
from onex_mesh.effect.core.subscription_models import Redelivery, SubscriptionConfig, covers
from onex_mesh.effect.core.target_file import TargetFile, read_target_file
from onex_mesh.runtime.errors import (
    ActionExpiredError,
    DependencyResolutionError,
    InternalError,
    NotBuiltError,
    OnexError,
    OverloadedError,
    WorkflowExistsError,
    WorkflowNotFoundError,
)
from onex_mesh.runtime.errors import ValidationError as Refused
from onex_mesh.runtime.payload import from_payload, json_payload

TARGETS = """\
targets:
  bus: {kind: nats, servers: ["nats://127.0.0.1:4222"], stream: ORDERS, prefix: orders}
  feed: {kind: redis_stream, host: 127.0.0.1, stream: orders}
  papers: {kind: file, root: papers}
subscriptions:
"""


def read(folder: Path, subscriptions: str, **environment: str) -> TargetFile:
    path = folder / "targets.yaml"
    path.write_text(TARGETS + subscriptions, encoding="utf-8")
    return read_target_file(path, environment)


def problems(folder: Path, subscription: str) -> list[str]:
    """What is wrong with a subscription `s`, without the file's name."""
    with pytest.raises(Refused) as refused:
        read(folder, f"  s:\n{subscription}")
    return [line.removeprefix(f"{folder / 'targets.yaml'}:") for line in refused.value.message.splitlines()]


def config(**settings: object) -> SubscriptionConfig:
    given: dict[str, object] = {"target": "bus", "durable": "mesh", "dead_letters": {"subject": "dead.orders"}}
    return SubscriptionConfig.model_validate({**given, **settings})


def test_a_whole_declaration(tmp_path: Path) -> None:
    """Issue item 5: variables of the environment outside of templates, templates as they stand, paths from the file."""
    file = read(
        tmp_path,
        """\
  placed:
    target: bus
    durable: ${GROUP}
    filter_subject: orders.placed.*
    event_types: [order.*]
    start_workflow: {definition: workflows/fulfil.yaml, input: {id: "${input.id}", all: "${input}"}}
    dead_letters: {file: dead.jsonl}
    redelivery: {max_deliveries: 7}
  paid:
    target: feed
    durable: mesh
    signal: {workflow_id: "order-${input.data.id}", name: paid}
    dead_letters: {stream: dead}
""",
        GROUP="shop",
    )
    placed, paid = file.subscriptions["placed"], file.subscriptions["paid"]
    assert (placed.durable, placed.redelivery.max_deliveries) == ("shop", 7)
    assert placed.start_workflow is not None
    assert placed.start_workflow.definition == tmp_path / "workflows/fulfil.yaml"
    assert placed.start_workflow.input == {"id": "${input.id}", "all": "${input}"}
    assert placed.dead_letters.file == tmp_path / "dead.jsonl"
    assert placed.refers_to() == (tmp_path / "workflows/fulfil.yaml",)
    assert [placed.wants(name) for name in ("order.placed", "invoice.sent")] == [True, False]
    assert paid.signal is not None
    assert (paid.signal.signal_id, paid.signal.payload) == ("${input.id}", "${input.data}")
    assert file.where_subscribed("paid") == f"{tmp_path}/targets.yaml:14: subscriptions.paid"


@pytest.mark.parametrize(
    ("subscription", "found"),
    [
        (
            "    {target: bsu, durable: m, start_workflow: {workflow: f}, dead_letters: {file: d}}",
            ["7: subscriptions.s.target: no target 'bsu' is declared"],
        ),
        (
            "    {target: papers, durable: m, start_workflow: {workflow: f}, dead_letters: {file: d}}",
            ["7: subscriptions.s.target: target 'papers' is of kind file; nats and redis_stream have messages"],
        ),
        (
            "    {target: bus, durable: m, start_workflow: {workflow: f}, dead_letters: {subject: orders.dead}}",
            [
                "7: subscriptions.s.dead_letters.subject: 'orders.dead' would come back: "
                "the subscription takes 'orders.>'"
            ],
        ),
        (
            "    {target: bus, durable: m, start_workflow: {workflow: f}, dead_letters: {stream: d}}",
            ["7: subscriptions.s.dead_letters.stream: target 'bus' is of kind nats: give a subject or a file"],
        ),
        (
            "    {target: feed, durable: m, filter_subject: a.*, start_workflow: {workflow: f},\n"
            "     dead_letters: {stream: orders}}",
            [
                "7: subscriptions.s.filter_subject: a Redis stream has no subjects; use event_types",
                "8: subscriptions.s.dead_letters.stream: 'orders' would come back: "
                "it is the stream of the subscription",
            ],
        ),
        (
            "    {target: feed, durable: m, start_workflow: {workflow: f}, dead_letters: {subject: d}}",
            ["7: subscriptions.s.dead_letters.subject: target 'feed' is of kind redis_stream: give a stream or a file"],
        ),
        (
            "    {target: bus, durable: m, dead_letters: {file: d}}",
            ["6: subscriptions.s: either start_workflow or signal is required"],
        ),
        (
            "    {target: bus, durable: m, start_workflow: {}, dead_letters: {file: d}}",
            [
                "7: subscriptions.s.start_workflow: either workflow, the name of one of the App, or definition, "
                "a YAML file, is required"
            ],
        ),
        (
            "    {target: bus, durable: m, start_workflow: {workflow: f}, dead_letters: {file: d, subject: e}}",
            ["7: subscriptions.s.dead_letters: one of subject, stream and file is required"],
        ),
        (
            "    {target: bus, durable: m, start_workflow: {workflow: f}}",
            ["6: subscriptions.s.dead_letters: Field required"],
        ),
        (
            "    {target: bus, durable: a b, start_workflow: {workflow: f}, dead_letters: {file: d}}",
            ["7: subscriptions.s.durable: String should match pattern '^[A-Za-z0-9_-]{1,64}$'"],
        ),
        (
            "    {target: bus, durable: m, pending_max: 3, start_workflow: {workflow: f}, dead_letters: {file: d}}",
            ["6: subscriptions.s: pending_max: 3 is less than concurrency"],
        ),
        (
            "    {target: bus, durable: m, start_workflow: {workflow: f, input: '${steps.a.output}'},\n"
            "     dead_letters: {file: d}}",
            ["7: subscriptions.s.start_workflow.input: reads steps; a subscription knows only the event, as `input`"],
        ),
    ],
)
def test_wrong_declarations_name_file_line_and_field(tmp_path: Path, subscription: str, found: list[str]) -> None:
    """Issue item 1: every problem, where it stands."""
    assert problems(tmp_path, subscription) == found


def test_templates_that_are_not_cel_are_found_when_the_file_is_read(tmp_path: Path) -> None:
    """Issue item 1: not at the first message."""
    found = problems(
        tmp_path,
        "    target: bus\n    durable: m\n    signal:\n      workflow_id: '${input.id +}'\n      name: x\n"
        "    dead_letters: {file: d}",
    )
    assert len(found) == 1
    assert found[0].startswith("10: subscriptions.s.signal.workflow_id: ${input.id +} is not CEL")


def test_wrong_shapes(tmp_path: Path) -> None:
    """Issue item 1: a list instead of a mapping, and a name that cannot be one."""
    path = tmp_path / "targets.yaml"
    path.write_text("targets: {}\nsubscriptions: [a]\n")
    with pytest.raises(Refused, match=r"targets.yaml:2: subscriptions: is not a mapping"):
        read_target_file(path, {})
    path.write_text("targets: {}\nsubscriptions: {a.b: {}}\n")
    with pytest.raises(Refused, match=r"'a.b' cannot be the name of a subscription"):
        read_target_file(path, {})


@pytest.mark.parametrize(
    ("pattern", "subject", "is_covered"),
    [
        ("a.>", "a.b", True),
        ("a.>", "a.b.c", True),
        ("a.>", "a", False),
        ("a.*", "a.b", True),
        ("a.*", "a.b.c", False),
        ("a.*.c", "a.b.c", True),
        ("a.b", "a.b", True),
        ("a.b", "a.c", False),
        (">", "a", True),
    ],
)
def test_subjects_under_a_pattern(pattern: str, subject: str, is_covered: bool) -> None:
    """The rules of NATS, by which a dead letter must not come back."""
    assert covers(pattern, subject) is is_covered


def test_waits_grow_to_a_bound() -> None:
    """R15: exponential, capped, however often it was delivered."""
    waits = Redelivery(initial_delay_s=1, max_delay_s=10, multiplier=3)
    assert [waits.delay_s(count) for count in (1, 2, 3, 4, 10_000)] == [1, 3, 9, 10, 10]


WHOLE = {
    "specversion": "1.0",
    "id": "e-1",
    "source": "/shop",
    "type": "order.placed",
    "subject": "o-1",
    "time": "2026-01-31T12:00:00Z",
    "correlationid": "c-1",
    "data": {"total": 5},
}


def structured(**changes: object) -> bytes:
    event = {**WHOLE, **changes}
    return json.dumps({name: value for name, value in event.items() if value is not None}).encode()


def test_a_structured_event() -> None:
    """CloudEvents 1.0: all attributes, extensions too; templates see them by name."""
    event = read_event({"Content-Type": "application/cloudevents+json; charset=utf-8"}, structured())
    assert (event.id, event.source, event.type, event.correlation_id) == ("e-1", "/shop", "order.placed", "c-1")
    shown = {name: value for name, value in WHOLE.items() if name != "specversion"}
    assert event.json() == shown
    assert read_event({}, structured()) == event


def test_a_binary_event() -> None:
    """CloudEvents 1.0: attributes in headers, percent-encoded; the body is the data, by its content type."""
    headers = {"ce-specversion": "1.0", "ce-id": "e%201", "Ce-Source": "/sh%C3%B6p", "ce-type": "t", "ce-n": "1"}
    event = read_event({**headers, "content-type": "application/json"}, b'{"a": [1]}')
    assert (event.id, event.source, event.data, event.extensions) == ("e 1", "/shöp", {"a": [1]}, {"n": "1"})
    assert read_event({**headers, "ce-datacontenttype": "text/plain"}, b"hi").json()["data"] == "hi"
    image = read_event({**headers, "content-type": "image/png"}, b"\x89P").json()
    assert (image["data_base64"], "data" in image) == ("iVA=", False)
    assert read_event(headers, b"").data is None


def test_bytes_in_a_structured_event() -> None:
    """CloudEvents 1.0: data_base64 is decoded by the content type of the data."""
    given = structured(data=None, data_base64="eyJhIjogMX0=", datacontenttype="application/json")
    assert read_event({}, given).data == {"a": 1}
    assert read_event({}, structured(data=None, data_base64="AP8=", datacontenttype="a/b")).data == b"\x00\xff"


@pytest.mark.parametrize(
    ("headers", "body", "problem"),
    [
        ({}, b"\xff", "event: is not JSON"),
        ({}, b"[" * 100_000, "event: is not JSON"),
        ({}, b"[]", "event: is not a JSON object"),
        ({}, b'{"id": NaN}', "event: is not JSON"),
        ({}, structured(id=None), "event.id: is required, a text that is not empty"),
        ({}, structured(id=5), "event.id: is required, a text that is not empty"),
        ({}, structured(source=""), "event.source: is required, a text that is not empty"),
        ({}, structured(specversion="0.3"), "event.specversion: is not 1.0"),
        ({}, structured(type="t" * 3_000), "event.type: has more than 2048 characters"),
        ({}, structured(subject=5), "event.subject: is not a text"),
        ({}, structured(data_base64="AA=="), "event.data_base64: stands beside data, or is not a text"),
        ({}, structured(data=None, data_base64="?"), "event.data_base64: is not base64"),
        ({"ce-id": "%ff"}, b"", "event.id: is not percent-encoded UTF-8"),
        ({"ce-id": "1", "ce-type": "t", "ce-source": "s"}, b"{}", "event.specversion: is required"),
        (
            {"ce-id": "1", "ce-type": "t", "ce-source": "s", "ce-specversion": "1.0", "content-type": "text/plain"},
            b"\xff",
            "event.data: is not UTF-8 text",
        ),
        (
            {"ce-id": "1", "ce-type": "t", "ce-source": "s", "ce-specversion": "1.0"},
            b"{",
            "event.data: is not the JSON that its content type says",
        ),
    ],
)
def test_what_is_no_event(headers: dict[str, str], body: bytes, problem: str) -> None:
    """Issue item 5: malformed messages are refused with what is wrong, never with their data."""
    with pytest.raises(Refused) as refused:
        read_event(headers, body)
    assert problem in refused.value.message


EVENT = CloudEvent(id="e-1", source="/shop", type="order.placed", data={"id": 7, "big": "x"})


def test_the_same_event_gives_the_same_start() -> None:
    """Issue item 5: id and contract are derived from the event alone; source, id and subscription tell them apart."""
    declared = config(start_workflow={"workflow": "fulfil order", "input": {"order": "${input.data.id}"}})
    order = mapping_of("placed", declared, None).order(EVENT)
    assert isinstance(order, workflow_pb2.OrchestratorContract)
    assert mapping_of("placed", declared, None).order(EVENT) == order
    assert order.workflow_id == "fulfil-order-" + order.workflow_id[-40:]
    assert from_payload(order.initial_state) == {"order": 7}
    assert dict(order.metadata) == {"event_source": "/shop", "event_id": "e-1"}
    assert (order.workflow_config.name, len(order.workflow_config.steps)) == ("fulfil order", 0)
    others = [
        mapping_of("other", declared, None).order(EVENT),
        mapping_of("placed", declared, None).order(CloudEvent(id="e-2", source="/shop", type="t", data={"id": 7})),
        mapping_of("placed", declared, None).order(CloudEvent(id="e-1", source="/b", type="t", data={"id": 7})),
        # Source and id do not run into each other.
        mapping_of("placed", declared, None).order(CloudEvent(id="pe-1", source="/sho", type="t", data={"id": 7})),
    ]
    assert len({order.workflow_id, *(other.workflow_id for other in others)}) == 5


def test_a_definition_from_a_file_travels_whole() -> None:
    """Issue item 5: an inline contract is sent with its steps."""
    definition = workflow_pb2.OrchestratorContract()
    definition.workflow_config.name = "inline"
    definition.workflow_config.steps.add(step_id="a")
    declared = config(start_workflow={"definition": "f.yaml", "workflow_id": "w-${input.data.id}"})
    mapping = mapping_of("s", declared, definition)
    order = mapping.order(EVENT)
    assert isinstance(order, workflow_pb2.OrchestratorContract)
    assert (order.workflow_id, order.workflow_config.steps[0].step_id) == ("w-7", "a")
    assert mapping.label == "start_workflow inline"
    assert not definition.workflow_id


def test_a_signal() -> None:
    """Issue item 5: workflow and name by template, the signal's id is the event's."""
    declared = config(signal={"workflow_id": "order-${input.data.id}", "name": "${input.type}"})
    assert mapping_of("s", declared, None).order(EVENT) == orchestrator_pb2.SignalWorkflowRequest(
        workflow_id="order-7",
        signal_id="e-1",
        name="order.placed",
        payload=json_payload({"id": 7, "big": "x"}),
    )


@pytest.mark.parametrize(
    ("settings", "event", "problem"),
    [
        (
            {"signal": {"workflow_id": "${input.data.missing}", "name": "n"}},
            EVENT,
            "signal.workflow_id: ${input.data.missing}",
        ),
        ({"signal": {"workflow_id": "${input.data}", "name": "n"}}, EVENT, "signal.workflow_id: gives no text"),
        (
            {"start_workflow": {"workflow": "w", "workflow_id": "${input.source}"}},
            EVENT,
            "start_workflow.workflow_id: '/shop' is not",
        ),
        (
            {"start_workflow": {"workflow": "w"}},
            CloudEvent(id="e", source="s", type="t", data={"n": 2**60}),
            "data.n: the integer 1152921504606846976 is beyond",
        ),
    ],
)
def test_events_that_cannot_be_mapped(settings: dict[str, object], event: CloudEvent, problem: str) -> None:
    """F22, issue item 5: refused with the field, before anybody is asked."""
    with pytest.raises(Refused) as refused:
        mapping_of("s", config(**settings), None).order(event)
    assert problem in refused.value.message


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OverloadedError(""), True),
        (DependencyResolutionError(""), True),
        (NotBuiltError(""), True),
        (ActionExpiredError(""), True),
        (WorkflowNotFoundError(""), False),
        (WorkflowExistsError(""), False),
        (Refused(""), False),
        (InternalError(""), False),
    ],
)
def test_which_errors_pass(error: OnexError, expected: bool) -> None:
    """R19: what may pass is never buried; what somebody has to look at is, in the end."""
    assert is_temporary(error) is expected
