import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from onex.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class IntentType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    INTENT_TYPE_UNSPECIFIED: _ClassVar[IntentType]
    INTENT_TYPE_DATABASE_WRITE: _ClassVar[IntentType]
    INTENT_TYPE_API_CALL: _ClassVar[IntentType]
    INTENT_TYPE_FILE_OPERATION: _ClassVar[IntentType]
    INTENT_TYPE_MESSAGE_PUBLISH: _ClassVar[IntentType]
    INTENT_TYPE_CACHE_UPDATE: _ClassVar[IntentType]
    INTENT_TYPE_NOTIFICATION: _ClassVar[IntentType]
    INTENT_TYPE_CUSTOM: _ClassVar[IntentType]

class IntentPriority(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    INTENT_PRIORITY_UNSPECIFIED: _ClassVar[IntentPriority]
    INTENT_PRIORITY_CRITICAL: _ClassVar[IntentPriority]
    INTENT_PRIORITY_HIGH: _ClassVar[IntentPriority]
    INTENT_PRIORITY_NORMAL: _ClassVar[IntentPriority]
    INTENT_PRIORITY_LOW: _ClassVar[IntentPriority]
    INTENT_PRIORITY_BACKGROUND: _ClassVar[IntentPriority]

class IntentStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    INTENT_STATUS_UNSPECIFIED: _ClassVar[IntentStatus]
    INTENT_STATUS_PENDING: _ClassVar[IntentStatus]
    INTENT_STATUS_COMPLETED: _ClassVar[IntentStatus]
    INTENT_STATUS_FAILED: _ClassVar[IntentStatus]
INTENT_TYPE_UNSPECIFIED: IntentType
INTENT_TYPE_DATABASE_WRITE: IntentType
INTENT_TYPE_API_CALL: IntentType
INTENT_TYPE_FILE_OPERATION: IntentType
INTENT_TYPE_MESSAGE_PUBLISH: IntentType
INTENT_TYPE_CACHE_UPDATE: IntentType
INTENT_TYPE_NOTIFICATION: IntentType
INTENT_TYPE_CUSTOM: IntentType
INTENT_PRIORITY_UNSPECIFIED: IntentPriority
INTENT_PRIORITY_CRITICAL: IntentPriority
INTENT_PRIORITY_HIGH: IntentPriority
INTENT_PRIORITY_NORMAL: IntentPriority
INTENT_PRIORITY_LOW: IntentPriority
INTENT_PRIORITY_BACKGROUND: IntentPriority
INTENT_STATUS_UNSPECIFIED: IntentStatus
INTENT_STATUS_PENDING: IntentStatus
INTENT_STATUS_COMPLETED: IntentStatus
INTENT_STATUS_FAILED: IntentStatus

class Intent(_message.Message):
    __slots__ = ("intent_id", "intent_type", "target", "payload", "priority", "correlation_id", "idempotency_key", "retry_policy", "metadata", "custom_type", "step_id")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    INTENT_ID_FIELD_NUMBER: _ClassVar[int]
    INTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    RETRY_POLICY_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    CUSTOM_TYPE_FIELD_NUMBER: _ClassVar[int]
    STEP_ID_FIELD_NUMBER: _ClassVar[int]
    intent_id: str
    intent_type: IntentType
    target: str
    payload: _struct_pb2.Struct
    priority: IntentPriority
    correlation_id: str
    idempotency_key: str
    retry_policy: _common_pb2.RetryPolicy
    metadata: _containers.ScalarMap[str, str]
    custom_type: str
    step_id: str
    def __init__(self, intent_id: _Optional[str] = ..., intent_type: _Optional[_Union[IntentType, str]] = ..., target: _Optional[str] = ..., payload: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., priority: _Optional[_Union[IntentPriority, str]] = ..., correlation_id: _Optional[str] = ..., idempotency_key: _Optional[str] = ..., retry_policy: _Optional[_Union[_common_pb2.RetryPolicy, _Mapping]] = ..., metadata: _Optional[_Mapping[str, str]] = ..., custom_type: _Optional[str] = ..., step_id: _Optional[str] = ...) -> None: ...

class EffectRecord(_message.Message):
    __slots__ = ("target", "effect_type", "operation", "idempotency_key", "fencing_token", "executed_by", "started_at", "attempts", "outcome")
    TARGET_FIELD_NUMBER: _ClassVar[int]
    EFFECT_TYPE_FIELD_NUMBER: _ClassVar[int]
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    FENCING_TOKEN_FIELD_NUMBER: _ClassVar[int]
    EXECUTED_BY_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    target: str
    effect_type: str
    operation: str
    idempotency_key: str
    fencing_token: int
    executed_by: str
    started_at: _timestamp_pb2.Timestamp
    attempts: int
    outcome: str
    def __init__(self, target: _Optional[str] = ..., effect_type: _Optional[str] = ..., operation: _Optional[str] = ..., idempotency_key: _Optional[str] = ..., fencing_token: _Optional[int] = ..., executed_by: _Optional[str] = ..., started_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., attempts: _Optional[int] = ..., outcome: _Optional[str] = ...) -> None: ...

class IntentResult(_message.Message):
    __slots__ = ("intent_id", "status", "result", "error", "attempts", "replayed", "execution_time", "record")
    INTENT_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_FIELD_NUMBER: _ClassVar[int]
    EXECUTION_TIME_FIELD_NUMBER: _ClassVar[int]
    RECORD_FIELD_NUMBER: _ClassVar[int]
    intent_id: str
    status: IntentStatus
    result: _common_pb2.Payload
    error: _common_pb2.OnexError
    attempts: int
    replayed: bool
    execution_time: _duration_pb2.Duration
    record: EffectRecord
    def __init__(self, intent_id: _Optional[str] = ..., status: _Optional[_Union[IntentStatus, str]] = ..., result: _Optional[_Union[_common_pb2.Payload, _Mapping]] = ..., error: _Optional[_Union[_common_pb2.OnexError, _Mapping]] = ..., attempts: _Optional[int] = ..., replayed: _Optional[bool] = ..., execution_time: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., record: _Optional[_Union[EffectRecord, _Mapping]] = ...) -> None: ...

class IntentBatch(_message.Message):
    __slots__ = ("intents",)
    INTENTS_FIELD_NUMBER: _ClassVar[int]
    intents: _containers.RepeatedCompositeFieldContainer[Intent]
    def __init__(self, intents: _Optional[_Iterable[_Union[Intent, _Mapping]]] = ...) -> None: ...
