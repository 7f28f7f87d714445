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

class AggregationMethod(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    AGGREGATION_METHOD_UNSPECIFIED: _ClassVar[AggregationMethod]
    AGGREGATION_METHOD_SUM: _ClassVar[AggregationMethod]
    AGGREGATION_METHOD_AVERAGE: _ClassVar[AggregationMethod]
    AGGREGATION_METHOD_COUNT: _ClassVar[AggregationMethod]
    AGGREGATION_METHOD_CUSTOM: _ClassVar[AggregationMethod]
    AGGREGATION_METHOD_MIN: _ClassVar[AggregationMethod]
    AGGREGATION_METHOD_MAX: _ClassVar[AggregationMethod]
    AGGREGATION_METHOD_VARIANCE: _ClassVar[AggregationMethod]
    AGGREGATION_METHOD_QUANTILES: _ClassVar[AggregationMethod]
    AGGREGATION_METHOD_DISTINCT: _ClassVar[AggregationMethod]
    AGGREGATION_METHOD_TOP_K: _ClassVar[AggregationMethod]

class WindowKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    WINDOW_KIND_UNSPECIFIED: _ClassVar[WindowKind]
    WINDOW_KIND_TUMBLING: _ClassVar[WindowKind]
    WINDOW_KIND_SLIDING: _ClassVar[WindowKind]
    WINDOW_KIND_SESSION: _ClassVar[WindowKind]

class LateData(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LATE_DATA_UNSPECIFIED: _ClassVar[LateData]
    LATE_DATA_DROP: _ClassVar[LateData]
    LATE_DATA_REFUSE: _ClassVar[LateData]
    LATE_DATA_RETURN: _ClassVar[LateData]
AGGREGATION_METHOD_UNSPECIFIED: AggregationMethod
AGGREGATION_METHOD_SUM: AggregationMethod
AGGREGATION_METHOD_AVERAGE: AggregationMethod
AGGREGATION_METHOD_COUNT: AggregationMethod
AGGREGATION_METHOD_CUSTOM: AggregationMethod
AGGREGATION_METHOD_MIN: AggregationMethod
AGGREGATION_METHOD_MAX: AggregationMethod
AGGREGATION_METHOD_VARIANCE: AggregationMethod
AGGREGATION_METHOD_QUANTILES: AggregationMethod
AGGREGATION_METHOD_DISTINCT: AggregationMethod
AGGREGATION_METHOD_TOP_K: AggregationMethod
WINDOW_KIND_UNSPECIFIED: WindowKind
WINDOW_KIND_TUMBLING: WindowKind
WINDOW_KIND_SLIDING: WindowKind
WINDOW_KIND_SESSION: WindowKind
LATE_DATA_UNSPECIFIED: LateData
LATE_DATA_DROP: LateData
LATE_DATA_REFUSE: LateData
LATE_DATA_RETURN: LateData

class Aggregate(_message.Message):
    __slots__ = ("name", "method", "field", "parameters", "reducer", "version")
    NAME_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    REDUCER_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    name: str
    method: AggregationMethod
    field: str
    parameters: _struct_pb2.Struct
    reducer: str
    version: str
    def __init__(self, name: _Optional[str] = ..., method: _Optional[_Union[AggregationMethod, str]] = ..., field: _Optional[str] = ..., parameters: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., reducer: _Optional[str] = ..., version: _Optional[str] = ...) -> None: ...

class WindowConfig(_message.Message):
    __slots__ = ("kind", "time_field", "size", "slide", "gap", "offset", "allowed_lateness", "late_data")
    KIND_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    SLIDE_FIELD_NUMBER: _ClassVar[int]
    GAP_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    ALLOWED_LATENESS_FIELD_NUMBER: _ClassVar[int]
    LATE_DATA_FIELD_NUMBER: _ClassVar[int]
    kind: WindowKind
    time_field: str
    size: _duration_pb2.Duration
    slide: _duration_pb2.Duration
    gap: _duration_pb2.Duration
    offset: _duration_pb2.Duration
    allowed_lateness: _duration_pb2.Duration
    late_data: LateData
    def __init__(self, kind: _Optional[_Union[WindowKind, str]] = ..., time_field: _Optional[str] = ..., size: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., slide: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., gap: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., offset: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., allowed_lateness: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., late_data: _Optional[_Union[LateData, str]] = ...) -> None: ...

class ReductionConfig(_message.Message):
    __slots__ = ("state_key", "aggregation_method", "reducer", "version", "field", "parameters", "aggregates", "group_by", "window", "as_table")
    STATE_KEY_FIELD_NUMBER: _ClassVar[int]
    AGGREGATION_METHOD_FIELD_NUMBER: _ClassVar[int]
    REDUCER_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    AGGREGATES_FIELD_NUMBER: _ClassVar[int]
    GROUP_BY_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    AS_TABLE_FIELD_NUMBER: _ClassVar[int]
    state_key: str
    aggregation_method: AggregationMethod
    reducer: str
    version: str
    field: str
    parameters: _struct_pb2.Struct
    aggregates: _containers.RepeatedCompositeFieldContainer[Aggregate]
    group_by: _containers.RepeatedScalarFieldContainer[str]
    window: WindowConfig
    as_table: bool
    def __init__(self, state_key: _Optional[str] = ..., aggregation_method: _Optional[_Union[AggregationMethod, str]] = ..., reducer: _Optional[str] = ..., version: _Optional[str] = ..., field: _Optional[str] = ..., parameters: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., aggregates: _Optional[_Iterable[_Union[Aggregate, _Mapping]]] = ..., group_by: _Optional[_Iterable[str]] = ..., window: _Optional[_Union[WindowConfig, _Mapping]] = ..., as_table: _Optional[bool] = ...) -> None: ...

class FsmAction(_message.Message):
    __slots__ = ("action", "payload")
    ACTION_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    action: str
    payload: _common_pb2.Payload
    def __init__(self, action: _Optional[str] = ..., payload: _Optional[_Union[_common_pb2.Payload, _Mapping]] = ...) -> None: ...

class TransactionConfig(_message.Message):
    __slots__ = ("state_keys", "rollback_on_error", "parts", "commit_partially")
    STATE_KEYS_FIELD_NUMBER: _ClassVar[int]
    ROLLBACK_ON_ERROR_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    COMMIT_PARTIALLY_FIELD_NUMBER: _ClassVar[int]
    state_keys: _containers.RepeatedScalarFieldContainer[str]
    rollback_on_error: bool
    parts: _containers.RepeatedCompositeFieldContainer[TransactionPart]
    commit_partially: bool
    def __init__(self, state_keys: _Optional[_Iterable[str]] = ..., rollback_on_error: _Optional[bool] = ..., parts: _Optional[_Iterable[_Union[TransactionPart, _Mapping]]] = ..., commit_partially: _Optional[bool] = ...) -> None: ...

class TransactionPart(_message.Message):
    __slots__ = ("reduction_config", "fsm_action", "input_data")
    REDUCTION_CONFIG_FIELD_NUMBER: _ClassVar[int]
    FSM_ACTION_FIELD_NUMBER: _ClassVar[int]
    INPUT_DATA_FIELD_NUMBER: _ClassVar[int]
    reduction_config: ReductionConfig
    fsm_action: FsmAction
    input_data: _common_pb2.Payload
    def __init__(self, reduction_config: _Optional[_Union[ReductionConfig, _Mapping]] = ..., fsm_action: _Optional[_Union[FsmAction, _Mapping]] = ..., input_data: _Optional[_Union[_common_pb2.Payload, _Mapping]] = ...) -> None: ...

class TransactionPartOutput(_message.Message):
    __slots__ = ("aggregated_data", "state_metadata", "reduction_metrics", "intents", "state", "backup", "error", "late_data")
    AGGREGATED_DATA_FIELD_NUMBER: _ClassVar[int]
    STATE_METADATA_FIELD_NUMBER: _ClassVar[int]
    REDUCTION_METRICS_FIELD_NUMBER: _ClassVar[int]
    INTENTS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    BACKUP_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    LATE_DATA_FIELD_NUMBER: _ClassVar[int]
    aggregated_data: _common_pb2.Payload
    state_metadata: StateMetadata
    reduction_metrics: ReductionMetrics
    intents: _containers.RepeatedCompositeFieldContainer[_intent_pb2.Intent]
    state: _common_pb2.Payload
    backup: BackupResult
    error: _common_pb2.OnexError
    late_data: _common_pb2.Payload
    def __init__(self, aggregated_data: _Optional[_Union[_common_pb2.Payload, _Mapping]] = ..., state_metadata: _Optional[_Union[StateMetadata, _Mapping]] = ..., reduction_metrics: _Optional[_Union[ReductionMetrics, _Mapping]] = ..., intents: _Optional[_Iterable[_Union[_intent_pb2.Intent, _Mapping]]] = ..., state: _Optional[_Union[_common_pb2.Payload, _Mapping]] = ..., backup: _Optional[_Union[BackupResult, _Mapping]] = ..., error: _Optional[_Union[_common_pb2.OnexError, _Mapping]] = ..., late_data: _Optional[_Union[_common_pb2.Payload, _Mapping]] = ...) -> None: ...

class StreamingConfig(_message.Message):
    __slots__ = ("enabled", "chunk_size")
    ENABLED_FIELD_NUMBER: _ClassVar[int]
    CHUNK_SIZE_FIELD_NUMBER: _ClassVar[int]
    enabled: bool
    chunk_size: int
    def __init__(self, enabled: _Optional[bool] = ..., chunk_size: _Optional[int] = ...) -> None: ...

class MemoryManagement(_message.Message):
    __slots__ = ("buffer_size_mb",)
    BUFFER_SIZE_MB_FIELD_NUMBER: _ClassVar[int]
    buffer_size_mb: int
    def __init__(self, buffer_size_mb: _Optional[int] = ...) -> None: ...

class BackupConfig(_message.Message):
    __slots__ = ("backup_location", "version", "backup_type")
    BACKUP_LOCATION_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    BACKUP_TYPE_FIELD_NUMBER: _ClassVar[int]
    backup_location: str
    version: str
    backup_type: str
    def __init__(self, backup_location: _Optional[str] = ..., version: _Optional[str] = ..., backup_type: _Optional[str] = ...) -> None: ...

class BackupRecord(_message.Message):
    __slots__ = ("timestamp", "correlation_id", "state", "metadata")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    timestamp: _timestamp_pb2.Timestamp
    correlation_id: str
    state: _common_pb2.Payload
    metadata: _containers.ScalarMap[str, str]
    def __init__(self, timestamp: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., correlation_id: _Optional[str] = ..., state: _Optional[_Union[_common_pb2.Payload, _Mapping]] = ..., metadata: _Optional[_Mapping[str, str]] = ...) -> None: ...

class BackupResult(_message.Message):
    __slots__ = ("location", "error")
    LOCATION_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    location: _common_pb2.PayloadLocation
    error: _common_pb2.OnexError
    def __init__(self, location: _Optional[_Union[_common_pb2.PayloadLocation, _Mapping]] = ..., error: _Optional[_Union[_common_pb2.OnexError, _Mapping]] = ...) -> None: ...

class ReducerContract(_message.Message):
    __slots__ = ("correlation_id", "input_data", "reduction_config", "transaction_config", "streaming_config", "memory_management", "backup_config", "current_state", "fsm_action", "occurred_at", "action_id", "metadata", "resume_after", "resume_records", "watermark")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    INPUT_DATA_FIELD_NUMBER: _ClassVar[int]
    REDUCTION_CONFIG_FIELD_NUMBER: _ClassVar[int]
    TRANSACTION_CONFIG_FIELD_NUMBER: _ClassVar[int]
    STREAMING_CONFIG_FIELD_NUMBER: _ClassVar[int]
    MEMORY_MANAGEMENT_FIELD_NUMBER: _ClassVar[int]
    BACKUP_CONFIG_FIELD_NUMBER: _ClassVar[int]
    CURRENT_STATE_FIELD_NUMBER: _ClassVar[int]
    FSM_ACTION_FIELD_NUMBER: _ClassVar[int]
    OCCURRED_AT_FIELD_NUMBER: _ClassVar[int]
    ACTION_ID_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    RESUME_AFTER_FIELD_NUMBER: _ClassVar[int]
    RESUME_RECORDS_FIELD_NUMBER: _ClassVar[int]
    WATERMARK_FIELD_NUMBER: _ClassVar[int]
    correlation_id: str
    input_data: _common_pb2.Payload
    reduction_config: ReductionConfig
    transaction_config: TransactionConfig
    streaming_config: StreamingConfig
    memory_management: MemoryManagement
    backup_config: BackupConfig
    current_state: _common_pb2.Payload
    fsm_action: FsmAction
    occurred_at: _timestamp_pb2.Timestamp
    action_id: str
    metadata: _containers.ScalarMap[str, str]
    resume_after: int
    resume_records: int
    watermark: _timestamp_pb2.Timestamp
    def __init__(self, correlation_id: _Optional[str] = ..., input_data: _Optional[_Union[_common_pb2.Payload, _Mapping]] = ..., reduction_config: _Optional[_Union[ReductionConfig, _Mapping]] = ..., transaction_config: _Optional[_Union[TransactionConfig, _Mapping]] = ..., streaming_config: _Optional[_Union[StreamingConfig, _Mapping]] = ..., memory_management: _Optional[_Union[MemoryManagement, _Mapping]] = ..., backup_config: _Optional[_Union[BackupConfig, _Mapping]] = ..., current_state: _Optional[_Union[_common_pb2.Payload, _Mapping]] = ..., fsm_action: _Optional[_Union[FsmAction, _Mapping]] = ..., occurred_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., action_id: _Optional[str] = ..., metadata: _Optional[_Mapping[str, str]] = ..., resume_after: _Optional[int] = ..., resume_records: _Optional[int] = ..., watermark: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class StateMetadata(_message.Message):
    __slots__ = ("previous_state", "new_state", "transition", "intents_emitted", "state_key", "final", "epoch")
    PREVIOUS_STATE_FIELD_NUMBER: _ClassVar[int]
    NEW_STATE_FIELD_NUMBER: _ClassVar[int]
    TRANSITION_FIELD_NUMBER: _ClassVar[int]
    INTENTS_EMITTED_FIELD_NUMBER: _ClassVar[int]
    STATE_KEY_FIELD_NUMBER: _ClassVar[int]
    FINAL_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    previous_state: str
    new_state: str
    transition: str
    intents_emitted: int
    state_key: str
    final: bool
    epoch: int
    def __init__(self, previous_state: _Optional[str] = ..., new_state: _Optional[str] = ..., transition: _Optional[str] = ..., intents_emitted: _Optional[int] = ..., state_key: _Optional[str] = ..., final: _Optional[bool] = ..., epoch: _Optional[int] = ...) -> None: ...

class ReductionMetrics(_message.Message):
    __slots__ = ("records_processed", "reduction_ratio", "state_size", "execution_time", "late_records", "rows")
    RECORDS_PROCESSED_FIELD_NUMBER: _ClassVar[int]
    REDUCTION_RATIO_FIELD_NUMBER: _ClassVar[int]
    STATE_SIZE_FIELD_NUMBER: _ClassVar[int]
    EXECUTION_TIME_FIELD_NUMBER: _ClassVar[int]
    LATE_RECORDS_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    records_processed: int
    reduction_ratio: float
    state_size: int
    execution_time: _duration_pb2.Duration
    late_records: int
    rows: int
    def __init__(self, records_processed: _Optional[int] = ..., reduction_ratio: _Optional[float] = ..., state_size: _Optional[int] = ..., execution_time: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., late_records: _Optional[int] = ..., rows: _Optional[int] = ...) -> None: ...

class ReducerOutput(_message.Message):
    __slots__ = ("correlation_id", "aggregated_data", "state_metadata", "reduction_metrics", "intents", "state", "backup", "parts", "late_data", "error", "replayed")
    CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    AGGREGATED_DATA_FIELD_NUMBER: _ClassVar[int]
    STATE_METADATA_FIELD_NUMBER: _ClassVar[int]
    REDUCTION_METRICS_FIELD_NUMBER: _ClassVar[int]
    INTENTS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    BACKUP_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    LATE_DATA_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_FIELD_NUMBER: _ClassVar[int]
    correlation_id: str
    aggregated_data: _common_pb2.Payload
    state_metadata: StateMetadata
    reduction_metrics: ReductionMetrics
    intents: _containers.RepeatedCompositeFieldContainer[_intent_pb2.Intent]
    state: _common_pb2.Payload
    backup: BackupResult
    parts: _containers.RepeatedCompositeFieldContainer[TransactionPartOutput]
    late_data: _common_pb2.Payload
    error: _common_pb2.OnexError
    replayed: bool
    def __init__(self, correlation_id: _Optional[str] = ..., aggregated_data: _Optional[_Union[_common_pb2.Payload, _Mapping]] = ..., state_metadata: _Optional[_Union[StateMetadata, _Mapping]] = ..., reduction_metrics: _Optional[_Union[ReductionMetrics, _Mapping]] = ..., intents: _Optional[_Iterable[_Union[_intent_pb2.Intent, _Mapping]]] = ..., state: _Optional[_Union[_common_pb2.Payload, _Mapping]] = ..., backup: _Optional[_Union[BackupResult, _Mapping]] = ..., parts: _Optional[_Iterable[_Union[TransactionPartOutput, _Mapping]]] = ..., late_data: _Optional[_Union[_common_pb2.Payload, _Mapping]] = ..., error: _Optional[_Union[_common_pb2.OnexError, _Mapping]] = ..., replayed: _Optional[bool] = ...) -> None: ...

class ExecuteReductionRequest(_message.Message):
    __slots__ = ("contract",)
    CONTRACT_FIELD_NUMBER: _ClassVar[int]
    contract: ReducerContract
    def __init__(self, contract: _Optional[_Union[ReducerContract, _Mapping]] = ...) -> None: ...

class ExecuteReductionResponse(_message.Message):
    __slots__ = ("output",)
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    output: ReducerOutput
    def __init__(self, output: _Optional[_Union[ReducerOutput, _Mapping]] = ...) -> None: ...

class StreamReductionRequest(_message.Message):
    __slots__ = ("contract", "chunk")
    CONTRACT_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    contract: ReducerContract
    chunk: ReductionChunk
    def __init__(self, contract: _Optional[_Union[ReducerContract, _Mapping]] = ..., chunk: _Optional[_Union[ReductionChunk, _Mapping]] = ...) -> None: ...

class ReductionChunk(_message.Message):
    __slots__ = ("sequence", "data", "watermark")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    WATERMARK_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    data: _common_pb2.Payload
    watermark: _timestamp_pb2.Timestamp
    def __init__(self, sequence: _Optional[int] = ..., data: _Optional[_Union[_common_pb2.Payload, _Mapping]] = ..., watermark: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ReductionProgress(_message.Message):
    __slots__ = ("sequence", "records_processed", "memory_bytes", "state", "closed", "late_data", "watermark")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    RECORDS_PROCESSED_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    CLOSED_FIELD_NUMBER: _ClassVar[int]
    LATE_DATA_FIELD_NUMBER: _ClassVar[int]
    WATERMARK_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    records_processed: int
    memory_bytes: int
    state: _common_pb2.Payload
    closed: _common_pb2.Payload
    late_data: _common_pb2.Payload
    watermark: _timestamp_pb2.Timestamp
    def __init__(self, sequence: _Optional[int] = ..., records_processed: _Optional[int] = ..., memory_bytes: _Optional[int] = ..., state: _Optional[_Union[_common_pb2.Payload, _Mapping]] = ..., closed: _Optional[_Union[_common_pb2.Payload, _Mapping]] = ..., late_data: _Optional[_Union[_common_pb2.Payload, _Mapping]] = ..., watermark: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class StreamReductionResponse(_message.Message):
    __slots__ = ("progress", "output")
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    progress: ReductionProgress
    output: ReducerOutput
    def __init__(self, progress: _Optional[_Union[ReductionProgress, _Mapping]] = ..., output: _Optional[_Union[ReducerOutput, _Mapping]] = ...) -> None: ...

class Transition(_message.Message):
    __slots__ = ("action", "sources", "target", "payload_schema")
    ACTION_FIELD_NUMBER: _ClassVar[int]
    SOURCES_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_SCHEMA_FIELD_NUMBER: _ClassVar[int]
    action: str
    sources: _containers.RepeatedScalarFieldContainer[str]
    target: str
    payload_schema: _struct_pb2.Struct
    def __init__(self, action: _Optional[str] = ..., sources: _Optional[_Iterable[str]] = ..., target: _Optional[str] = ..., payload_schema: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ...) -> None: ...

class Reducer(_message.Message):
    __slots__ = ("name", "version", "description", "states", "initial_state", "final_states", "transitions", "state_schema")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    STATES_FIELD_NUMBER: _ClassVar[int]
    INITIAL_STATE_FIELD_NUMBER: _ClassVar[int]
    FINAL_STATES_FIELD_NUMBER: _ClassVar[int]
    TRANSITIONS_FIELD_NUMBER: _ClassVar[int]
    STATE_SCHEMA_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    description: str
    states: _containers.RepeatedScalarFieldContainer[str]
    initial_state: str
    final_states: _containers.RepeatedScalarFieldContainer[str]
    transitions: _containers.RepeatedCompositeFieldContainer[Transition]
    state_schema: _struct_pb2.Struct
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., description: _Optional[str] = ..., states: _Optional[_Iterable[str]] = ..., initial_state: _Optional[str] = ..., final_states: _Optional[_Iterable[str]] = ..., transitions: _Optional[_Iterable[_Union[Transition, _Mapping]]] = ..., state_schema: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ...) -> None: ...

class ListReducersRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListReducersResponse(_message.Message):
    __slots__ = ("reducers",)
    REDUCERS_FIELD_NUMBER: _ClassVar[int]
    reducers: _containers.RepeatedCompositeFieldContainer[Reducer]
    def __init__(self, reducers: _Optional[_Iterable[_Union[Reducer, _Mapping]]] = ...) -> None: ...
