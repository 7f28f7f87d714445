import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from onex.v1 import common_pb2 as _common_pb2
from onex.v1 import compute_pb2 as _compute_pb2
from onex.v1 import effect_pb2 as _effect_pb2
from onex.v1 import intent_pb2 as _intent_pb2
from onex.v1 import reducer_pb2 as _reducer_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ActionType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ACTION_TYPE_UNSPECIFIED: _ClassVar[ActionType]
    ACTION_TYPE_START_WORKFLOW: _ClassVar[ActionType]
    ACTION_TYPE_DELEGATE_TASK: _ClassVar[ActionType]
    ACTION_TYPE_UPDATE_STATE: _ClassVar[ActionType]
    ACTION_TYPE_ABORT_WORKFLOW: _ClassVar[ActionType]
    ACTION_TYPE_CHECKPOINT_STATE: _ClassVar[ActionType]
    ACTION_TYPE_ROLLBACK_STATE: _ClassVar[ActionType]

class ActionStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ACTION_STATUS_UNSPECIFIED: _ClassVar[ActionStatus]
    ACTION_STATUS_PENDING: _ClassVar[ActionStatus]
    ACTION_STATUS_IN_PROGRESS: _ClassVar[ActionStatus]
    ACTION_STATUS_COMPLETED: _ClassVar[ActionStatus]
    ACTION_STATUS_FAILED: _ClassVar[ActionStatus]
    ACTION_STATUS_CANCELLED: _ClassVar[ActionStatus]
ACTION_TYPE_UNSPECIFIED: ActionType
ACTION_TYPE_START_WORKFLOW: ActionType
ACTION_TYPE_DELEGATE_TASK: ActionType
ACTION_TYPE_UPDATE_STATE: ActionType
ACTION_TYPE_ABORT_WORKFLOW: ActionType
ACTION_TYPE_CHECKPOINT_STATE: ActionType
ACTION_TYPE_ROLLBACK_STATE: ActionType
ACTION_STATUS_UNSPECIFIED: ActionStatus
ACTION_STATUS_PENDING: ActionStatus
ACTION_STATUS_IN_PROGRESS: ActionStatus
ACTION_STATUS_COMPLETED: ActionStatus
ACTION_STATUS_FAILED: ActionStatus
ACTION_STATUS_CANCELLED: ActionStatus

class Action(_message.Message):
    __slots__ = ("action_id", "action_type", "lease_id", "epoch", "target_node", "command_payload", "correlation_id", "issued_at", "expires_at", "parent_action_id", "metadata", "workflow_id", "fencing_token", "step_id")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ACTION_ID_FIELD_NUMBER: _ClassVar[int]
    ACTION_TYPE_FIELD_NUMBER: _ClassVar[int]
    LEASE_ID_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    TARGET_NODE_FIELD_NUMBER: _ClassVar[int]
    COMMAND_PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    ISSUED_AT_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    PARENT_ACTION_ID_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_ID_FIELD_NUMBER: _ClassVar[int]
    FENCING_TOKEN_FIELD_NUMBER: _ClassVar[int]
    STEP_ID_FIELD_NUMBER: _ClassVar[int]
    action_id: str
    action_type: ActionType
    lease_id: str
    epoch: int
    target_node: _common_pb2.NodeKind
    command_payload: Command
    correlation_id: str
    issued_at: _timestamp_pb2.Timestamp
    expires_at: _timestamp_pb2.Timestamp
    parent_action_id: str
    metadata: _containers.ScalarMap[str, str]
    workflow_id: str
    fencing_token: int
    step_id: str
    def __init__(self, action_id: _Optional[str] = ..., action_type: _Optional[_Union[ActionType, str]] = ..., lease_id: _Optional[str] = ..., epoch: _Optional[int] = ..., target_node: _Optional[_Union[_common_pb2.NodeKind, str]] = ..., command_payload: _Optional[_Union[Command, _Mapping]] = ..., correlation_id: _Optional[str] = ..., issued_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., expires_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., parent_action_id: _Optional[str] = ..., metadata: _Optional[_Mapping[str, str]] = ..., workflow_id: _Optional[str] = ..., fencing_token: _Optional[int] = ..., step_id: _Optional[str] = ...) -> None: ...

class Command(_message.Message):
    __slots__ = ("effect", "intents", "compute", "reduction", "chain")
    EFFECT_FIELD_NUMBER: _ClassVar[int]
    INTENTS_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_FIELD_NUMBER: _ClassVar[int]
    REDUCTION_FIELD_NUMBER: _ClassVar[int]
    CHAIN_FIELD_NUMBER: _ClassVar[int]
    effect: _effect_pb2.EffectContract
    intents: _intent_pb2.IntentBatch
    compute: _compute_pb2.ComputeContract
    reduction: _reducer_pb2.ReducerContract
    chain: CommandChain
    def __init__(self, effect: _Optional[_Union[_effect_pb2.EffectContract, _Mapping]] = ..., intents: _Optional[_Union[_intent_pb2.IntentBatch, _Mapping]] = ..., compute: _Optional[_Union[_compute_pb2.ComputeContract, _Mapping]] = ..., reduction: _Optional[_Union[_reducer_pb2.ReducerContract, _Mapping]] = ..., chain: _Optional[_Union[CommandChain, _Mapping]] = ...) -> None: ...

class CommandChain(_message.Message):
    __slots__ = ("context", "links")
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    LINKS_FIELD_NUMBER: _ClassVar[int]
    context: _struct_pb2.Struct
    links: _containers.RepeatedCompositeFieldContainer[ChainLink]
    def __init__(self, context: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., links: _Optional[_Iterable[_Union[ChainLink, _Mapping]]] = ...) -> None: ...

class ChainLink(_message.Message):
    __slots__ = ("step_id", "command", "parameters")
    STEP_ID_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    step_id: str
    command: Command
    parameters: _struct_pb2.Struct
    def __init__(self, step_id: _Optional[str] = ..., command: _Optional[_Union[Command, _Mapping]] = ..., parameters: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ...) -> None: ...

class StepOutput(_message.Message):
    __slots__ = ("step_id", "effect", "intents", "compute", "reduction", "error", "execution_time")
    STEP_ID_FIELD_NUMBER: _ClassVar[int]
    EFFECT_FIELD_NUMBER: _ClassVar[int]
    INTENTS_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_FIELD_NUMBER: _ClassVar[int]
    REDUCTION_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    EXECUTION_TIME_FIELD_NUMBER: _ClassVar[int]
    step_id: str
    effect: _effect_pb2.EffectOutput
    intents: IntentResults
    compute: _compute_pb2.ComputeOutput
    reduction: _reducer_pb2.ReducerOutput
    error: _common_pb2.OnexError
    execution_time: _duration_pb2.Duration
    def __init__(self, step_id: _Optional[str] = ..., effect: _Optional[_Union[_effect_pb2.EffectOutput, _Mapping]] = ..., intents: _Optional[_Union[IntentResults, _Mapping]] = ..., compute: _Optional[_Union[_compute_pb2.ComputeOutput, _Mapping]] = ..., reduction: _Optional[_Union[_reducer_pb2.ReducerOutput, _Mapping]] = ..., error: _Optional[_Union[_common_pb2.OnexError, _Mapping]] = ..., execution_time: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class IntentResults(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[_intent_pb2.IntentResult]
    def __init__(self, results: _Optional[_Iterable[_Union[_intent_pb2.IntentResult, _Mapping]]] = ...) -> None: ...

class ActionResult(_message.Message):
    __slots__ = ("action_id", "status", "outputs", "error", "executed_by")
    ACTION_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    EXECUTED_BY_FIELD_NUMBER: _ClassVar[int]
    action_id: str
    status: ActionStatus
    outputs: _containers.RepeatedCompositeFieldContainer[StepOutput]
    error: _common_pb2.OnexError
    executed_by: str
    def __init__(self, action_id: _Optional[str] = ..., status: _Optional[_Union[ActionStatus, str]] = ..., outputs: _Optional[_Iterable[_Union[StepOutput, _Mapping]]] = ..., error: _Optional[_Union[_common_pb2.OnexError, _Mapping]] = ..., executed_by: _Optional[str] = ...) -> None: ...

class ActionRecord(_message.Message):
    __slots__ = ("action", "status", "executed_by")
    ACTION_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    EXECUTED_BY_FIELD_NUMBER: _ClassVar[int]
    action: Action
    status: ActionStatus
    executed_by: str
    def __init__(self, action: _Optional[_Union[Action, _Mapping]] = ..., status: _Optional[_Union[ActionStatus, str]] = ..., executed_by: _Optional[str] = ...) -> None: ...

class ExecuteActionRequest(_message.Message):
    __slots__ = ("action",)
    ACTION_FIELD_NUMBER: _ClassVar[int]
    action: Action
    def __init__(self, action: _Optional[_Union[Action, _Mapping]] = ...) -> None: ...

class ExecuteActionResponse(_message.Message):
    __slots__ = ("result",)
    RESULT_FIELD_NUMBER: _ClassVar[int]
    result: ActionResult
    def __init__(self, result: _Optional[_Union[ActionResult, _Mapping]] = ...) -> None: ...

class DispatchRequest(_message.Message):
    __slots__ = ("actions", "cancel_action_ids")
    ACTIONS_FIELD_NUMBER: _ClassVar[int]
    CANCEL_ACTION_IDS_FIELD_NUMBER: _ClassVar[int]
    actions: _containers.RepeatedCompositeFieldContainer[Action]
    cancel_action_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, actions: _Optional[_Iterable[_Union[Action, _Mapping]]] = ..., cancel_action_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class DispatchResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[ActionResult]
    def __init__(self, results: _Optional[_Iterable[_Union[ActionResult, _Mapping]]] = ...) -> None: ...
