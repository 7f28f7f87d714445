"""Contracts and intents read into requests: keys, operations, and all that can be wrong with them."""

from __future__ import annotations

from onex.v1 import effect_pb2, intent_pb2
from onex_mesh.effect.core.batch import arrange, execution_order
from onex_mesh.effect.core.contracts import read_contract, read_intent
from onex_mesh.effect.core.keys import intent_key, is_key, step_key
from onex_mesh.effect.core.request import EffectContext, Priority
from tests.effect_engine import effect_contract, intent

STEP = EffectContext(correlation_id="c", workflow_id="wf", step_id="pay", fencing_token=7)


def test_a_step_has_a_key_of_its_own() -> None:
    """R9, R79: the key of a workflow's step is derived, the same each time, another one for each step and workflow."""
    contract = effect_contract("api_call", "shop")
    key = read_contract(contract, STEP).request.context.idempotency_key
    assert key == step_key("wf", "pay") == read_contract(contract, STEP).request.context.idempotency_key
    assert is_key(key)
    assert len({step_key("a", "bc"), step_key("ab", "c"), intent_key("a", "bc"), key}) == 4


def test_the_contracts_own_key_and_correlation_id_win() -> None:
    """R5, R79: what the contract says is kept; a direct call without a key has none."""
    contract = effect_contract("api_call", "shop", key="order_1")
    contract.correlation_id = "mine"
    context = read_contract(contract, STEP).request.context
    assert (context.idempotency_key, context.correlation_id, context.fencing_token) == ("order_1", "mine", 7)
    assert read_contract(effect_contract("api_call", "shop"), EffectContext()).request.context.idempotency_key == ""


def test_an_intent_always_has_a_key() -> None:
    """F27: the key of an intent without one is derived from workflow and intent id."""
    message = intent("i-1", intent_pb2.INTENT_TYPE_API_CALL, "shop", {"path": "/x"})
    assert read_intent(message, STEP).request.context.idempotency_key == intent_key("wf", "i-1")


def test_all_six_intent_types_are_known() -> None:
    """R74, R88, F27: each type of intent has its effect type; the operation is taken out of the payload."""
    seen = {}
    for kind in intent_pb2.IntentType.values():
        message = intent("i", kind, "t", {"operation": "insert", "method": "POST"}, custom_type="x" * (kind == 7))
        seen[kind] = read_intent(message, STEP)
    types = {kind: read.request.effect_type for kind, read in seen.items()}
    assert types == {
        0: "",
        1: "database_write",
        2: "api_call",
        3: "file_operation",
        4: "message_publish",
        5: "cache_update",
        6: "notification",
        7: "x",
    }
    assert seen[1].request.operation == "insert"
    assert seen[2].request.operation == "POST"
    assert seen[7].request.parameters == {"operation": "insert", "method": "POST"}
    assert seen[0].violations == (("intent_type", "is required"),)


def test_intents_are_retried_only_as_they_say() -> None:
    """R87: without a policy an intent is tried once; a contract without one follows its target."""
    once = read_intent(intent("i", intent_pb2.INTENT_TYPE_NOTIFICATION, "mail"), STEP).request.retry
    assert once is not None
    assert once.max_retries == 0
    twice = read_intent(intent("i", intent_pb2.INTENT_TYPE_NOTIFICATION, "mail", retries=1), STEP).request.retry
    assert twice is not None
    assert twice.max_retries == 1
    assert read_contract(effect_contract("api_call", "shop"), STEP).request.retry is None


def test_priorities_default_to_normal() -> None:
    """R77: five priorities; NORMAL where none is set."""
    priorities = [
        read_intent(intent("i", intent_pb2.INTENT_TYPE_API_CALL, "t", priority=value), STEP).request.priority
        for value in intent_pb2.IntentPriority.values()
    ]
    assert priorities == [
        Priority.NORMAL,
        Priority.CRITICAL,
        Priority.HIGH,
        Priority.NORMAL,
        Priority.LOW,
        Priority.BACKGROUND,
    ]


def test_every_violation_of_a_contract_is_found() -> None:
    """R18: all violations at once, each with the path of its field."""
    contract = effect_contract("", "t", "insert", {"x": 1}, key="with blank")
    contract.retry_config.max_retries = -1
    contract.external_service_config.timeout.FromSeconds(-1)
    contract.cache.ttl.FromSeconds(-1)
    contract.io_operation_config.body.location.uri = "store/1"
    assert [path for path, _ in read_contract(contract, STEP).violations] == [
        "io_operation_config.effect_type",
        "idempotency_key",
        "retry_config.max_retries",
        "external_service_config.timeout",
        "cache.ttl",
        "io_operation_config.body",
    ]


def test_an_operation_must_not_contradict_itself() -> None:
    """R18: an operation given in two places has to be the same one."""
    contract = effect_contract("database_write", "t", "insert", {"operation": "delete"})
    assert read_contract(contract, STEP).violations == (
        ("io_operation_config.parameters.operation", "'delete' contradicts the operation 'insert'"),
    )
    contract = effect_contract("database_write", "t", "", {"operation": 5})
    assert read_contract(contract, STEP).violations == (("io_operation_config.parameters.operation", "is not a text"),)


def test_keys_are_visible_ascii() -> None:
    """R79: keys travel in headers, so control characters, blanks and more than 255 characters are refused."""
    assert is_key("order_1")
    assert is_key("k" * 255)
    for bad in ("", "k" * 256, "a b", "a\r\nX: y", "ä", "a\x00"):
        assert not is_key(bad)


def test_a_batch_is_arranged_by_priority_and_target() -> None:
    """R84: a level of priority begins when the one above has ended; within one, targets work side by side in order."""
    reads = [
        read_intent(intent(str(index), intent_pb2.INTENT_TYPE_API_CALL, target, priority=priority), STEP)
        for index, (target, priority) in enumerate(
            [
                ("a", intent_pb2.INTENT_PRIORITY_NORMAL),
                ("b", intent_pb2.INTENT_PRIORITY_CRITICAL),
                ("b", intent_pb2.INTENT_PRIORITY_NORMAL),
                ("a", intent_pb2.INTENT_PRIORITY_NORMAL),
                ("b", intent_pb2.INTENT_PRIORITY_BACKGROUND),
            ]
        )
    ]
    assert arrange(reads) == [[[1]], [[0, 3], [2]], [[4]]]
    assert execution_order(reads) == [1, 0, 2, 3, 4]


def test_contracts_are_plain_data() -> None:
    """R129: a contract read back from its bytes gives the same request."""
    contract = effect_contract("file_operation", "files", "write", {"path": "a", "content": [1, {"b": None}]}, key="k")
    again = effect_pb2.EffectContract.FromString(contract.SerializeToString())
    assert read_contract(again, STEP) == read_contract(contract, STEP)
