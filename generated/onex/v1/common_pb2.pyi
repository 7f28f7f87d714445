import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class NodeKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NODE_KIND_UNSPECIFIED: _ClassVar[NodeKind]
    NODE_KIND_EFFECT: _ClassVar[NodeKind]
    NODE_KIND_COMPUTE: _ClassVar[NodeKind]
    NODE_KIND_REDUCER: _ClassVar[NodeKind]
    NODE_KIND_ORCHESTRATOR: _ClassVar[NodeKind]
NODE_KIND_UNSPECIFIED: NodeKind
NODE_KIND_EFFECT: NodeKind
NODE_KIND_COMPUTE: NodeKind
NODE_KIND_REDUCER: NodeKind
NODE_KIND_ORCHESTRATOR: NodeKind

class Payload(_message.Message):
    __slots__ = ("json", "data", "location", "content_type")
    JSON_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    LOCATION_FIELD_NUMBER: _ClassVar[int]
    CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    json: _struct_pb2.Value
    data: bytes
    location: PayloadLocation
    content_type: str
    def __init__(self, json: _Optional[_Union[_struct_pb2.Value, _Mapping]] = ..., data: _Optional[bytes] = ..., location: _Optional[_Union[PayloadLocation, _Mapping]] = ..., content_type: _Optional[str] = ...) -> None: ...

class PayloadLocation(_message.Message):
    __slots__ = ("uri", "digest", "size_bytes")
    URI_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    uri: str
    digest: str
    size_bytes: int
    def __init__(self, uri: _Optional[str] = ..., digest: _Optional[str] = ..., size_bytes: _Optional[int] = ...) -> None: ...

class RetryPolicy(_message.Message):
    __slots__ = ("max_retries", "initial_backoff", "max_backoff", "backoff_multiplier", "jitter", "max_elapsed", "retry_on")
    MAX_RETRIES_FIELD_NUMBER: _ClassVar[int]
    INITIAL_BACKOFF_FIELD_NUMBER: _ClassVar[int]
    MAX_BACKOFF_FIELD_NUMBER: _ClassVar[int]
    BACKOFF_MULTIPLIER_FIELD_NUMBER: _ClassVar[int]
    JITTER_FIELD_NUMBER: _ClassVar[int]
    MAX_ELAPSED_FIELD_NUMBER: _ClassVar[int]
    RETRY_ON_FIELD_NUMBER: _ClassVar[int]
    max_retries: int
    initial_backoff: _duration_pb2.Duration
    max_backoff: _duration_pb2.Duration
    backoff_multiplier: float
    jitter: float
    max_elapsed: _duration_pb2.Duration
    retry_on: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, max_retries: _Optional[int] = ..., initial_backoff: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., max_backoff: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., backoff_multiplier: _Optional[float] = ..., jitter: _Optional[float] = ..., max_elapsed: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., retry_on: _Optional[_Iterable[str]] = ...) -> None: ...

class CacheConfig(_message.Message):
    __slots__ = ("ttl", "key")
    TTL_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    ttl: _duration_pb2.Duration
    key: str
    def __init__(self, ttl: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., key: _Optional[str] = ...) -> None: ...

class OnexError(_message.Message):
    __slots__ = ("reason", "message", "correlation_id", "error_context", "node_kind", "code", "retryable", "cause")
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    ERROR_CONTEXT_FIELD_NUMBER: _ClassVar[int]
    NODE_KIND_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    RETRYABLE_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    reason: str
    message: str
    correlation_id: str
    error_context: _struct_pb2.Struct
    node_kind: NodeKind
    code: int
    retryable: bool
    cause: OnexError
    def __init__(self, reason: _Optional[str] = ..., message: _Optional[str] = ..., correlation_id: _Optional[str] = ..., error_context: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., node_kind: _Optional[_Union[NodeKind, str]] = ..., code: _Optional[int] = ..., retryable: _Optional[bool] = ..., cause: _Optional[_Union[OnexError, _Mapping]] = ...) -> None: ...

class PipelineErrorContext(_message.Message):
    __slots__ = ("correlation_id", "error_chain", "failed_nodes", "total_errors")
    CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    ERROR_CHAIN_FIELD_NUMBER: _ClassVar[int]
    FAILED_NODES_FIELD_NUMBER: _ClassVar[int]
    TOTAL_ERRORS_FIELD_NUMBER: _ClassVar[int]
    correlation_id: str
    error_chain: _containers.RepeatedCompositeFieldContainer[OnexError]
    failed_nodes: _containers.RepeatedScalarFieldContainer[str]
    total_errors: int
    def __init__(self, correlation_id: _Optional[str] = ..., error_chain: _Optional[_Iterable[_Union[OnexError, _Mapping]]] = ..., failed_nodes: _Optional[_Iterable[str]] = ..., total_errors: _Optional[int] = ...) -> None: ...
