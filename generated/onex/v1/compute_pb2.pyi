import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from onex.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ExecutorKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EXECUTOR_KIND_UNSPECIFIED: _ClassVar[ExecutorKind]
    EXECUTOR_KIND_THREADS: _ClassVar[ExecutorKind]
    EXECUTOR_KIND_PROCESSES: _ClassVar[ExecutorKind]
    EXECUTOR_KIND_DASK: _ClassVar[ExecutorKind]

class MergeStrategy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MERGE_STRATEGY_UNSPECIFIED: _ClassVar[MergeStrategy]
    MERGE_STRATEGY_CONCATENATE: _ClassVar[MergeStrategy]
    MERGE_STRATEGY_REDUCE: _ClassVar[MergeStrategy]
    MERGE_STRATEGY_CUSTOM: _ClassVar[MergeStrategy]

class OutputFormat(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OUTPUT_FORMAT_UNSPECIFIED: _ClassVar[OutputFormat]
    OUTPUT_FORMAT_PASSTHROUGH: _ClassVar[OutputFormat]
    OUTPUT_FORMAT_JSON: _ClassVar[OutputFormat]
    OUTPUT_FORMAT_ARRAY: _ClassVar[OutputFormat]
    OUTPUT_FORMAT_DATAFRAME: _ClassVar[OutputFormat]
    OUTPUT_FORMAT_PARQUET: _ClassVar[OutputFormat]
EXECUTOR_KIND_UNSPECIFIED: ExecutorKind
EXECUTOR_KIND_THREADS: ExecutorKind
EXECUTOR_KIND_PROCESSES: ExecutorKind
EXECUTOR_KIND_DASK: ExecutorKind
MERGE_STRATEGY_UNSPECIFIED: MergeStrategy
MERGE_STRATEGY_CONCATENATE: MergeStrategy
MERGE_STRATEGY_REDUCE: MergeStrategy
MERGE_STRATEGY_CUSTOM: MergeStrategy
OUTPUT_FORMAT_UNSPECIFIED: OutputFormat
OUTPUT_FORMAT_PASSTHROUGH: OutputFormat
OUTPUT_FORMAT_JSON: OutputFormat
OUTPUT_FORMAT_ARRAY: OutputFormat
OUTPUT_FORMAT_DATAFRAME: OutputFormat
OUTPUT_FORMAT_PARQUET: OutputFormat

class AlgorithmConfig(_message.Message):
    __slots__ = ("algorithm_type", "parameters", "version")
    ALGORITHM_TYPE_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    algorithm_type: str
    parameters: _struct_pb2.Struct
    version: str
    def __init__(self, algorithm_type: _Optional[str] = ..., parameters: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., version: _Optional[str] = ...) -> None: ...

class ParallelConfig(_message.Message):
    __slots__ = ("worker_count", "executor", "merge_strategy")
    WORKER_COUNT_FIELD_NUMBER: _ClassVar[int]
    EXECUTOR_FIELD_NUMBER: _ClassVar[int]
    MERGE_STRATEGY_FIELD_NUMBER: _ClassVar[int]
    worker_count: int
    executor: ExecutorKind
    merge_strategy: MergeStrategy
    def __init__(self, worker_count: _Optional[int] = ..., executor: _Optional[_Union[ExecutorKind, str]] = ..., merge_strategy: _Optional[_Union[MergeStrategy, str]] = ...) -> None: ...

class FieldRules(_message.Message):
    __slots__ = ("minimum", "maximum", "pattern", "min_length", "max_length", "one_of")
    MINIMUM_FIELD_NUMBER: _ClassVar[int]
    MAXIMUM_FIELD_NUMBER: _ClassVar[int]
    PATTERN_FIELD_NUMBER: _ClassVar[int]
    MIN_LENGTH_FIELD_NUMBER: _ClassVar[int]
    MAX_LENGTH_FIELD_NUMBER: _ClassVar[int]
    ONE_OF_FIELD_NUMBER: _ClassVar[int]
    minimum: float
    maximum: float
    pattern: str
    min_length: int
    max_length: int
    one_of: _containers.RepeatedCompositeFieldContainer[_struct_pb2.Value]
    def __init__(self, minimum: _Optional[float] = ..., maximum: _Optional[float] = ..., pattern: _Optional[str] = ..., min_length: _Optional[int] = ..., max_length: _Optional[int] = ..., one_of: _Optional[_Iterable[_Union[_struct_pb2.Value, _Mapping]]] = ...) -> None: ...

class InputValidation(_message.Message):
    __slots__ = ("required_fields", "data_types", "rules", "json_schema")
    class DataTypesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class RulesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: FieldRules
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[FieldRules, _Mapping]] = ...) -> None: ...
    REQUIRED_FIELDS_FIELD_NUMBER: _ClassVar[int]
    DATA_TYPES_FIELD_NUMBER: _ClassVar[int]
    RULES_FIELD_NUMBER: _ClassVar[int]
    JSON_SCHEMA_FIELD_NUMBER: _ClassVar[int]
    required_fields: _containers.RepeatedScalarFieldContainer[str]
    data_types: _containers.ScalarMap[str, str]
    rules: _containers.MessageMap[str, FieldRules]
    json_schema: _struct_pb2.Struct
    def __init__(self, required_fields: _Optional[_Iterable[str]] = ..., data_types: _Optional[_Mapping[str, str]] = ..., rules: _Optional[_Mapping[str, FieldRules]] = ..., json_schema: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ...) -> None: ...

class OutputTransformation(_message.Message):
    __slots__ = ("format",)
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    format: OutputFormat
    def __init__(self, format: _Optional[_Union[OutputFormat, str]] = ...) -> None: ...

class ComputeContract(_message.Message):
    __slots__ = ("correlation_id", "input_data", "algorithm_config", "parallel_config", "input_validation", "output_transformation", "cache", "metadata", "inputs")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class InputsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _common_pb2.Payload
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_common_pb2.Payload, _Mapping]] = ...) -> None: ...
    CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    INPUT_DATA_FIELD_NUMBER: _ClassVar[int]
    ALGORITHM_CONFIG_FIELD_NUMBER: _ClassVar[int]
    PARALLEL_CONFIG_FIELD_NUMBER: _ClassVar[int]
    INPUT_VALIDATION_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TRANSFORMATION_FIELD_NUMBER: _ClassVar[int]
    CACHE_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    correlation_id: str
    input_data: _common_pb2.Payload
    algorithm_config: AlgorithmConfig
    parallel_config: ParallelConfig
    input_validation: InputValidation
    output_transformation: OutputTransformation
    cache: _common_pb2.CacheConfig
    metadata: _containers.ScalarMap[str, str]
    inputs: _containers.MessageMap[str, _common_pb2.Payload]
    def __init__(self, correlation_id: _Optional[str] = ..., input_data: _Optional[_Union[_common_pb2.Payload, _Mapping]] = ..., algorithm_config: _Optional[_Union[AlgorithmConfig, _Mapping]] = ..., parallel_config: _Optional[_Union[ParallelConfig, _Mapping]] = ..., input_validation: _Optional[_Union[InputValidation, _Mapping]] = ..., output_transformation: _Optional[_Union[OutputTransformation, _Mapping]] = ..., cache: _Optional[_Union[_common_pb2.CacheConfig, _Mapping]] = ..., metadata: _Optional[_Mapping[str, str]] = ..., inputs: _Optional[_Mapping[str, _common_pb2.Payload]] = ...) -> None: ...

class PerformanceMetrics(_message.Message):
    __slots__ = ("execution_time", "data_size", "algorithm_type", "algorithm_version", "worker_count", "from_cache", "peak_memory_bytes", "spilled_bytes")
    EXECUTION_TIME_FIELD_NUMBER: _ClassVar[int]
    DATA_SIZE_FIELD_NUMBER: _ClassVar[int]
    ALGORITHM_TYPE_FIELD_NUMBER: _ClassVar[int]
    ALGORITHM_VERSION_FIELD_NUMBER: _ClassVar[int]
    WORKER_COUNT_FIELD_NUMBER: _ClassVar[int]
    FROM_CACHE_FIELD_NUMBER: _ClassVar[int]
    PEAK_MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    SPILLED_BYTES_FIELD_NUMBER: _ClassVar[int]
    execution_time: _duration_pb2.Duration
    data_size: int
    algorithm_type: str
    algorithm_version: str
    worker_count: int
    from_cache: bool
    peak_memory_bytes: int
    spilled_bytes: int
    def __init__(self, execution_time: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., data_size: _Optional[int] = ..., algorithm_type: _Optional[str] = ..., algorithm_version: _Optional[str] = ..., worker_count: _Optional[int] = ..., from_cache: _Optional[bool] = ..., peak_memory_bytes: _Optional[int] = ..., spilled_bytes: _Optional[int] = ...) -> None: ...

class ComputeOutput(_message.Message):
    __slots__ = ("correlation_id", "processed_data", "performance_metrics", "output_schema")
    CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    PROCESSED_DATA_FIELD_NUMBER: _ClassVar[int]
    PERFORMANCE_METRICS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_SCHEMA_FIELD_NUMBER: _ClassVar[int]
    correlation_id: str
    processed_data: _common_pb2.Payload
    performance_metrics: PerformanceMetrics
    output_schema: _struct_pb2.Struct
    def __init__(self, correlation_id: _Optional[str] = ..., processed_data: _Optional[_Union[_common_pb2.Payload, _Mapping]] = ..., performance_metrics: _Optional[_Union[PerformanceMetrics, _Mapping]] = ..., output_schema: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ...) -> None: ...

class ComputeProgress(_message.Message):
    __slots__ = ("done", "total", "elapsed", "memory_bytes", "rows_done", "rows_total", "rows_per_second")
    DONE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    ELAPSED_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    ROWS_DONE_FIELD_NUMBER: _ClassVar[int]
    ROWS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    ROWS_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    done: int
    total: int
    elapsed: _duration_pb2.Duration
    memory_bytes: int
    rows_done: int
    rows_total: int
    rows_per_second: float
    def __init__(self, done: _Optional[int] = ..., total: _Optional[int] = ..., elapsed: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., memory_bytes: _Optional[int] = ..., rows_done: _Optional[int] = ..., rows_total: _Optional[int] = ..., rows_per_second: _Optional[float] = ...) -> None: ...

class ExecuteComputeRequest(_message.Message):
    __slots__ = ("contract",)
    CONTRACT_FIELD_NUMBER: _ClassVar[int]
    contract: ComputeContract
    def __init__(self, contract: _Optional[_Union[ComputeContract, _Mapping]] = ...) -> None: ...

class ExecuteComputeResponse(_message.Message):
    __slots__ = ("output",)
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    output: ComputeOutput
    def __init__(self, output: _Optional[_Union[ComputeOutput, _Mapping]] = ...) -> None: ...

class StreamComputeRequest(_message.Message):
    __slots__ = ("contract",)
    CONTRACT_FIELD_NUMBER: _ClassVar[int]
    contract: ComputeContract
    def __init__(self, contract: _Optional[_Union[ComputeContract, _Mapping]] = ...) -> None: ...

class StreamComputeResponse(_message.Message):
    __slots__ = ("progress", "output")
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    progress: ComputeProgress
    output: ComputeOutput
    def __init__(self, progress: _Optional[_Union[ComputeProgress, _Mapping]] = ..., output: _Optional[_Union[ComputeOutput, _Mapping]] = ...) -> None: ...

class Algorithm(_message.Message):
    __slots__ = ("algorithm_type", "version", "description", "pure", "chunkable", "input_schema", "parameters_schema", "output_schema", "inputs")
    ALGORITHM_TYPE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    PURE_FIELD_NUMBER: _ClassVar[int]
    CHUNKABLE_FIELD_NUMBER: _ClassVar[int]
    INPUT_SCHEMA_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_SCHEMA_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_SCHEMA_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    algorithm_type: str
    version: str
    description: str
    pure: bool
    chunkable: bool
    input_schema: _struct_pb2.Struct
    parameters_schema: _struct_pb2.Struct
    output_schema: _struct_pb2.Struct
    inputs: _containers.RepeatedCompositeFieldContainer[AlgorithmInput]
    def __init__(self, algorithm_type: _Optional[str] = ..., version: _Optional[str] = ..., description: _Optional[str] = ..., pure: _Optional[bool] = ..., chunkable: _Optional[bool] = ..., input_schema: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., parameters_schema: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., output_schema: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., inputs: _Optional[_Iterable[_Union[AlgorithmInput, _Mapping]]] = ...) -> None: ...

class AlgorithmInput(_message.Message):
    __slots__ = ("name", "required", "schema")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REQUIRED_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_FIELD_NUMBER: _ClassVar[int]
    name: str
    required: bool
    schema: _struct_pb2.Struct
    def __init__(self, name: _Optional[str] = ..., required: _Optional[bool] = ..., schema: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ...) -> None: ...

class ListAlgorithmsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListAlgorithmsResponse(_message.Message):
    __slots__ = ("algorithms",)
    ALGORITHMS_FIELD_NUMBER: _ClassVar[int]
    algorithms: _containers.RepeatedCompositeFieldContainer[Algorithm]
    def __init__(self, algorithms: _Optional[_Iterable[_Union[Algorithm, _Mapping]]] = ...) -> None: ...
