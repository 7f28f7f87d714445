import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from onex.v1 import common_pb2 as _common_pb2
from onex.v1 import intent_pb2 as _intent_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class BreakerState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BREAKER_STATE_UNSPECIFIED: _ClassVar[BreakerState]
    BREAKER_STATE_CLOSED: _ClassVar[BreakerState]
    BREAKER_STATE_OPEN: _ClassVar[BreakerState]
    BREAKER_STATE_HALF_OPEN: _ClassVar[BreakerState]
BREAKER_STATE_UNSPECIFIED: BreakerState
BREAKER_STATE_CLOSED: BreakerState
BREAKER_STATE_OPEN: BreakerState
BREAKER_STATE_HALF_OPEN: BreakerState

class ExternalServiceConfig(_message.Message):
    __slots__ = ("target", "timeout")
    TARGET_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    target: str
    timeout: _duration_pb2.Duration
    def __init__(self, target: _Optional[str] = ..., timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class IoOperationConfig(_message.Message):
    __slots__ = ("effect_type", "operation", "parameters", "body")
    EFFECT_TYPE_FIELD_NUMBER: _ClassVar[int]
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    effect_type: str
    operation: str
    parameters: _struct_pb2.Struct
    body: _common_pb2.Payload
    def __init__(self, effect_type: _Optional[str] = ..., operation: _Optional[str] = ..., parameters: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., body: _Optional[_Union[_common_pb2.Payload, _Mapping]] = ...) -> None: ...

class EffectContract(_message.Message):
    __slots__ = ("correlation_id", "external_service_config", "io_operation_config", "retry_config", "idempotency_key", "cache", "metadata")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    EXTERNAL_SERVICE_CONFIG_FIELD_NUMBER: _ClassVar[int]
    IO_OPERATION_CONFIG_FIELD_NUMBER: _ClassVar[int]
    RETRY_CONFIG_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    CACHE_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    correlation_id: str
    external_service_config: ExternalServiceConfig
    io_operation_config: IoOperationConfig
    retry_config: _common_pb2.RetryPolicy
    idempotency_key: str
    cache: _common_pb2.CacheConfig
    metadata: _containers.ScalarMap[str, str]
    def __init__(self, correlation_id: _Optional[str] = ..., external_service_config: _Optional[_Union[ExternalServiceConfig, _Mapping]] = ..., io_operation_config: _Optional[_Union[IoOperationConfig, _Mapping]] = ..., retry_config: _Optional[_Union[_common_pb2.RetryPolicy, _Mapping]] = ..., idempotency_key: _Optional[str] = ..., cache: _Optional[_Union[_common_pb2.CacheConfig, _Mapping]] = ..., metadata: _Optional[_Mapping[str, str]] = ...) -> None: ...

class EffectMetadata(_message.Message):
    __slots__ = ("target", "effect_type", "operation", "attempts", "execution_time", "idempotency_key", "replayed", "from_cache", "started_at", "fencing_token", "executed_by")
    TARGET_FIELD_NUMBER: _ClassVar[int]
    EFFECT_TYPE_FIELD_NUMBER: _ClassVar[int]
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    EXECUTION_TIME_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_FIELD_NUMBER: _ClassVar[int]
    FROM_CACHE_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    FENCING_TOKEN_FIELD_NUMBER: _ClassVar[int]
    EXECUTED_BY_FIELD_NUMBER: _ClassVar[int]
    target: str
    effect_type: str
    operation: str
    attempts: int
    execution_time: _duration_pb2.Duration
    idempotency_key: str
    replayed: bool
    from_cache: bool
    started_at: _timestamp_pb2.Timestamp
    fencing_token: int
    executed_by: str
    def __init__(self, target: _Optional[str] = ..., effect_type: _Optional[str] = ..., operation: _Optional[str] = ..., attempts: _Optional[int] = ..., execution_time: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., idempotency_key: _Optional[str] = ..., replayed: _Optional[bool] = ..., from_cache: _Optional[bool] = ..., started_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., fencing_token: _Optional[int] = ..., executed_by: _Optional[str] = ...) -> None: ...

class EffectOutput(_message.Message):
    __slots__ = ("correlation_id", "operation_result", "metadata")
    CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    OPERATION_RESULT_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    correlation_id: str
    operation_result: _common_pb2.Payload
    metadata: EffectMetadata
    def __init__(self, correlation_id: _Optional[str] = ..., operation_result: _Optional[_Union[_common_pb2.Payload, _Mapping]] = ..., metadata: _Optional[_Union[EffectMetadata, _Mapping]] = ...) -> None: ...

class ExecuteEffectRequest(_message.Message):
    __slots__ = ("contract",)
    CONTRACT_FIELD_NUMBER: _ClassVar[int]
    contract: EffectContract
    def __init__(self, contract: _Optional[_Union[EffectContract, _Mapping]] = ...) -> None: ...

class ExecuteEffectResponse(_message.Message):
    __slots__ = ("output",)
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    output: EffectOutput
    def __init__(self, output: _Optional[_Union[EffectOutput, _Mapping]] = ...) -> None: ...

class ExecuteIntentsRequest(_message.Message):
    __slots__ = ("correlation_id", "intents")
    CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    INTENTS_FIELD_NUMBER: _ClassVar[int]
    correlation_id: str
    intents: _containers.RepeatedCompositeFieldContainer[_intent_pb2.Intent]
    def __init__(self, correlation_id: _Optional[str] = ..., intents: _Optional[_Iterable[_Union[_intent_pb2.Intent, _Mapping]]] = ...) -> None: ...

class ExecuteIntentsResponse(_message.Message):
    __slots__ = ("result",)
    RESULT_FIELD_NUMBER: _ClassVar[int]
    result: _intent_pb2.IntentResult
    def __init__(self, result: _Optional[_Union[_intent_pb2.IntentResult, _Mapping]] = ...) -> None: ...

class Target(_message.Message):
    __slots__ = ("name", "kind", "effect_types", "healthy", "breaker_state", "succeeded_count", "failed_count", "in_flight", "description", "parameters_schema", "compensated_by", "waiting", "health_message", "retried_count")
    NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    EFFECT_TYPES_FIELD_NUMBER: _ClassVar[int]
    HEALTHY_FIELD_NUMBER: _ClassVar[int]
    BREAKER_STATE_FIELD_NUMBER: _ClassVar[int]
    SUCCEEDED_COUNT_FIELD_NUMBER: _ClassVar[int]
    FAILED_COUNT_FIELD_NUMBER: _ClassVar[int]
    IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_SCHEMA_FIELD_NUMBER: _ClassVar[int]
    COMPENSATED_BY_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    HEALTH_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    RETRIED_COUNT_FIELD_NUMBER: _ClassVar[int]
    name: str
    kind: str
    effect_types: _containers.RepeatedScalarFieldContainer[str]
    healthy: bool
    breaker_state: BreakerState
    succeeded_count: int
    failed_count: int
    in_flight: int
    description: str
    parameters_schema: _struct_pb2.Struct
    compensated_by: str
    waiting: int
    health_message: str
    retried_count: int
    def __init__(self, name: _Optional[str] = ..., kind: _Optional[str] = ..., effect_types: _Optional[_Iterable[str]] = ..., healthy: _Optional[bool] = ..., breaker_state: _Optional[_Union[BreakerState, str]] = ..., succeeded_count: _Optional[int] = ..., failed_count: _Optional[int] = ..., in_flight: _Optional[int] = ..., description: _Optional[str] = ..., parameters_schema: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., compensated_by: _Optional[str] = ..., waiting: _Optional[int] = ..., health_message: _Optional[str] = ..., retried_count: _Optional[int] = ...) -> None: ...

class ListTargetsRequest(_message.Message):
    __slots__ = ("kind",)
    KIND_FIELD_NUMBER: _ClassVar[int]
    kind: str
    def __init__(self, kind: _Optional[str] = ...) -> None: ...

class ListTargetsResponse(_message.Message):
    __slots__ = ("targets",)
    TARGETS_FIELD_NUMBER: _ClassVar[int]
    targets: _containers.RepeatedCompositeFieldContainer[Target]
    def __init__(self, targets: _Optional[_Iterable[_Union[Target, _Mapping]]] = ...) -> None: ...
