"""Messages as plain values, and back."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration
from hypothesis import given
from hypothesis import strategies as st

from onex.v1 import common_pb2, workflow_pb2
from onex_mesh.app.contract_form import fill_message
from onex_mesh.app.plain_form import payload_plain, to_plain
from onex_mesh.runtime.payload import json_payload
from onex_mesh.runtime.violations import Violations

_KEYS = st.sampled_from(["json", "data", "a", "content_type"])
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner),
    max_leaves=8,
)


def test_a_message_is_plain_values_without_what_is_not_set() -> None:
    """R129: everything that is shown is plain data, in the names of the contract."""
    state = workflow_pb2.WorkflowState(
        workflow_id="a", status=workflow_pb2.WORKFLOW_STATUS_RUNNING, contract_digest=b"hi"
    )
    state.started_at.FromJsonString("2026-01-31T12:00:00Z")
    state.execution_time.FromMilliseconds(1500)
    state.reducer_states["order"].fsm_state = "PLACED"
    state.steps.add(status=workflow_pb2.STEP_STATUS_COMPLETED, result_epoch=2**60)
    assert to_plain(state) == {
        "workflow_id": "a",
        "status": "RUNNING",
        "steps": [{"status": "COMPLETED", "result_epoch": 2**60}],
        "reducer_states": {"order": {"fsm_state": "PLACED"}},
        "contract_digest": "aGk=",
        "started_at": "2026-01-31T12:00:00Z",
        "execution_time": "1.5s",
    }


@given(value=_JSON)
def test_payloads_survive_the_way_there_and_back(value: object) -> None:
    """What `onex-mesh get` shows of a payload can be written into a workflow file and is the same payload."""
    payload = json_payload(value)
    back = common_pb2.Payload(content_type=payload.content_type)
    violations = Violations()
    fill_message(back, payload_plain(payload), "", violations)
    assert violations.found == []
    assert back == payload


def test_payloads_that_are_no_json() -> None:
    """Bytes and locations are shown in the payload's own form; no content is null."""
    assert payload_plain(common_pb2.Payload(data=b"hi", content_type="text/plain")) == {
        "data": "aGk=",
        "content_type": "text/plain",
    }
    assert payload_plain(common_pb2.Payload(location=common_pb2.PayloadLocation(uri="a"))) == {"location": {"uri": "a"}}
    assert payload_plain(common_pb2.Payload()) is None


@given(nanoseconds=st.integers(-(10**15), 10**15))
def test_durations_are_exact(nanoseconds: int) -> None:
    """F35: durations are shown to the nanosecond, without rounding."""
    duration = Duration()
    duration.FromNanoseconds(nanoseconds)
    text = to_plain(duration)
    assert isinstance(text, str)
    whole, _, rest = text.removesuffix("s").partition(".")
    sign = -1 if whole.startswith("-") else 1
    assert int(whole) * 10**9 + sign * int(rest.ljust(9, "0") or "0") == nanoseconds
