import datetime

from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from onex.v1 import action_pb2 as _action_pb2
from onex.v1 import common_pb2 as _common_pb2
from onex.v1 import intent_pb2 as _intent_pb2
from onex.v1 import workflow_pb2 as _workflow_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ExecuteOrchestrationRequest(_message.Message):
    __slots__ = ("contract",)
    CONTRACT_FIELD_NUMBER: _ClassVar[int]
    contract: _workflow_pb2.OrchestratorContract
    def __init__(self, contract: _Optional[_Union[_workflow_pb2.OrchestratorContract, _Mapping]] = ...) -> None: ...

class ExecuteOrchestrationResponse(_message.Message):
    __slots__ = ("output",)
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    output: _workflow_pb2.OrchestratorOutput
    def __init__(self, output: _Optional[_Union[_workflow_pb2.OrchestratorOutput, _Mapping]] = ...) -> None: ...

class StartWorkflowRequest(_message.Message):
    __slots__ = ("contract",)
    CONTRACT_FIELD_NUMBER: _ClassVar[int]
    contract: _workflow_pb2.OrchestratorContract
    def __init__(self, contract: _Optional[_Union[_workflow_pb2.OrchestratorContract, _Mapping]] = ...) -> None: ...

class StartWorkflowResponse(_message.Message):
    __slots__ = ("workflow_id", "correlation_id", "epoch", "created")
    WORKFLOW_ID_FIELD_NUMBER: _ClassVar[int]
    CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    workflow_id: str
    correlation_id: str
    epoch: int
    created: bool
    def __init__(self, workflow_id: _Optional[str] = ..., correlation_id: _Optional[str] = ..., epoch: _Optional[int] = ..., created: _Optional[bool] = ...) -> None: ...

class GetWorkflowRequest(_message.Message):
    __slots__ = ("workflow_id",)
    WORKFLOW_ID_FIELD_NUMBER: _ClassVar[int]
    workflow_id: str
    def __init__(self, workflow_id: _Optional[str] = ...) -> None: ...

class GetWorkflowResponse(_message.Message):
    __slots__ = ("workflow",)
    WORKFLOW_FIELD_NUMBER: _ClassVar[int]
    workflow: _workflow_pb2.Workflow
    def __init__(self, workflow: _Optional[_Union[_workflow_pb2.Workflow, _Mapping]] = ...) -> None: ...

class ListWorkflowsRequest(_message.Message):
    __slots__ = ("statuses", "workflow_id_prefix", "page_size", "page_token", "name")
    STATUSES_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_ID_PREFIX_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    statuses: _containers.RepeatedScalarFieldContainer[_workflow_pb2.WorkflowStatus]
    workflow_id_prefix: str
    page_size: int
    page_token: str
    name: str
    def __init__(self, statuses: _Optional[_Iterable[_Union[_workflow_pb2.WorkflowStatus, str]]] = ..., workflow_id_prefix: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class ListWorkflowsResponse(_message.Message):
    __slots__ = ("workflows", "next_page_token")
    WORKFLOWS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    workflows: _containers.RepeatedCompositeFieldContainer[_workflow_pb2.Workflow]
    next_page_token: str
    def __init__(self, workflows: _Optional[_Iterable[_Union[_workflow_pb2.Workflow, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class WatchWorkflowRequest(_message.Message):
    __slots__ = ("workflow_id", "after_epoch")
    WORKFLOW_ID_FIELD_NUMBER: _ClassVar[int]
    AFTER_EPOCH_FIELD_NUMBER: _ClassVar[int]
    workflow_id: str
    after_epoch: int
    def __init__(self, workflow_id: _Optional[str] = ..., after_epoch: _Optional[int] = ...) -> None: ...

class WatchWorkflowResponse(_message.Message):
    __slots__ = ("epoch", "workflow", "completed_steps", "started_steps", "result")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_FIELD_NUMBER: _ClassVar[int]
    COMPLETED_STEPS_FIELD_NUMBER: _ClassVar[int]
    STARTED_STEPS_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    workflow: _workflow_pb2.Workflow
    completed_steps: _containers.RepeatedCompositeFieldContainer[_workflow_pb2.WorkflowStepCompleted]
    started_steps: _containers.RepeatedScalarFieldContainer[str]
    result: _workflow_pb2.OrchestrationResult
    def __init__(self, epoch: _Optional[int] = ..., workflow: _Optional[_Union[_workflow_pb2.Workflow, _Mapping]] = ..., completed_steps: _Optional[_Iterable[_Union[_workflow_pb2.WorkflowStepCompleted, _Mapping]]] = ..., started_steps: _Optional[_Iterable[str]] = ..., result: _Optional[_Union[_workflow_pb2.OrchestrationResult, _Mapping]] = ...) -> None: ...

class SignalWorkflowRequest(_message.Message):
    __slots__ = ("workflow_id", "signal_id", "name", "payload")
    WORKFLOW_ID_FIELD_NUMBER: _ClassVar[int]
    SIGNAL_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    workflow_id: str
    signal_id: str
    name: str
    payload: _common_pb2.Payload
    def __init__(self, workflow_id: _Optional[str] = ..., signal_id: _Optional[str] = ..., name: _Optional[str] = ..., payload: _Optional[_Union[_common_pb2.Payload, _Mapping]] = ...) -> None: ...

class SignalWorkflowResponse(_message.Message):
    __slots__ = ("epoch", "accepted")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    accepted: bool
    def __init__(self, epoch: _Optional[int] = ..., accepted: _Optional[bool] = ...) -> None: ...

class CancelWorkflowRequest(_message.Message):
    __slots__ = ("workflow_id", "reason")
    WORKFLOW_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    workflow_id: str
    reason: str
    def __init__(self, workflow_id: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class CancelWorkflowResponse(_message.Message):
    __slots__ = ("workflow",)
    WORKFLOW_FIELD_NUMBER: _ClassVar[int]
    workflow: _workflow_pb2.Workflow
    def __init__(self, workflow: _Optional[_Union[_workflow_pb2.Workflow, _Mapping]] = ...) -> None: ...

class CheckpointWorkflowRequest(_message.Message):
    __slots__ = ("workflow_id",)
    WORKFLOW_ID_FIELD_NUMBER: _ClassVar[int]
    workflow_id: str
    def __init__(self, workflow_id: _Optional[str] = ...) -> None: ...

class CheckpointWorkflowResponse(_message.Message):
    __slots__ = ("epoch",)
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    def __init__(self, epoch: _Optional[int] = ...) -> None: ...

class RollbackWorkflowRequest(_message.Message):
    __slots__ = ("workflow_id", "to_epoch", "reason")
    WORKFLOW_ID_FIELD_NUMBER: _ClassVar[int]
    TO_EPOCH_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    workflow_id: str
    to_epoch: int
    reason: str
    def __init__(self, workflow_id: _Optional[str] = ..., to_epoch: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class RollbackWorkflowResponse(_message.Message):
    __slots__ = ("epoch",)
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    def __init__(self, epoch: _Optional[int] = ...) -> None: ...

class GetHistoryRequest(_message.Message):
    __slots__ = ("workflow_id", "after_epoch", "page_size")
    WORKFLOW_ID_FIELD_NUMBER: _ClassVar[int]
    AFTER_EPOCH_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    workflow_id: str
    after_epoch: int
    page_size: int
    def __init__(self, workflow_id: _Optional[str] = ..., after_epoch: _Optional[int] = ..., page_size: _Optional[int] = ...) -> None: ...

class GetHistoryResponse(_message.Message):
    __slots__ = ("commits", "next_after_epoch", "chain_valid")
    COMMITS_FIELD_NUMBER: _ClassVar[int]
    NEXT_AFTER_EPOCH_FIELD_NUMBER: _ClassVar[int]
    CHAIN_VALID_FIELD_NUMBER: _ClassVar[int]
    commits: _containers.RepeatedCompositeFieldContainer[_workflow_pb2.Commit]
    next_after_epoch: int
    chain_valid: bool
    def __init__(self, commits: _Optional[_Iterable[_Union[_workflow_pb2.Commit, _Mapping]]] = ..., next_after_epoch: _Optional[int] = ..., chain_valid: _Optional[bool] = ...) -> None: ...

class GetStateRequest(_message.Message):
    __slots__ = ("workflow_id", "epoch")
    WORKFLOW_ID_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    workflow_id: str
    epoch: int
    def __init__(self, workflow_id: _Optional[str] = ..., epoch: _Optional[int] = ...) -> None: ...

class GetStateResponse(_message.Message):
    __slots__ = ("state", "epoch", "committed_at")
    STATE_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_AT_FIELD_NUMBER: _ClassVar[int]
    state: _workflow_pb2.WorkflowState
    epoch: int
    committed_at: _timestamp_pb2.Timestamp
    def __init__(self, state: _Optional[_Union[_workflow_pb2.WorkflowState, _Mapping]] = ..., epoch: _Optional[int] = ..., committed_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class PreviewActionRequest(_message.Message):
    __slots__ = ("workflow_id", "command")
    WORKFLOW_ID_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    workflow_id: str
    command: _action_pb2.Command
    def __init__(self, workflow_id: _Optional[str] = ..., command: _Optional[_Union[_action_pb2.Command, _Mapping]] = ...) -> None: ...

class PreviewActionResponse(_message.Message):
    __slots__ = ("state", "intents", "details")
    STATE_FIELD_NUMBER: _ClassVar[int]
    INTENTS_FIELD_NUMBER: _ClassVar[int]
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    state: _common_pb2.Payload
    intents: _containers.RepeatedCompositeFieldContainer[_intent_pb2.Intent]
    details: _struct_pb2.Struct
    def __init__(self, state: _Optional[_Union[_common_pb2.Payload, _Mapping]] = ..., intents: _Optional[_Iterable[_Union[_intent_pb2.Intent, _Mapping]]] = ..., details: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ...) -> None: ...
