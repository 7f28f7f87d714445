import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from onex.v1 import action_pb2 as _action_pb2
from onex.v1 import common_pb2 as _common_pb2
from onex.v1 import intent_pb2 as _intent_pb2
from onex.v1 import reducer_pb2 as _reducer_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CoordinationType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    COORDINATION_TYPE_UNSPECIFIED: _ClassVar[CoordinationType]
    COORDINATION_TYPE_SEQUENTIAL: _ClassVar[CoordinationType]
    COORDINATION_TYPE_PARALLEL: _ClassVar[CoordinationType]
    COORDINATION_TYPE_PIPELINE: _ClassVar[CoordinationType]
    COORDINATION_TYPE_EVENT_DRIVEN: _ClassVar[CoordinationType]

class Durability(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DURABILITY_UNSPECIFIED: _ClassVar[Durability]
    DURABILITY_PURITY_AWARE: _ClassVar[Durability]
    DURABILITY_EVERY_STEP: _ClassVar[Durability]

class DependencyType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DEPENDENCY_TYPE_UNSPECIFIED: _ClassVar[DependencyType]
    DEPENDENCY_TYPE_REQUIRED: _ClassVar[DependencyType]
    DEPENDENCY_TYPE_OPTIONAL: _ClassVar[DependencyType]

class WorkflowStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    WORKFLOW_STATUS_UNSPECIFIED: _ClassVar[WorkflowStatus]
    WORKFLOW_STATUS_RUNNING: _ClassVar[WorkflowStatus]
    WORKFLOW_STATUS_WAITING: _ClassVar[WorkflowStatus]
    WORKFLOW_STATUS_COMPLETED: _ClassVar[WorkflowStatus]
    WORKFLOW_STATUS_ABORTED: _ClassVar[WorkflowStatus]
    WORKFLOW_STATUS_CANCELLED: _ClassVar[WorkflowStatus]
    WORKFLOW_STATUS_COMPENSATING: _ClassVar[WorkflowStatus]

class StepStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STEP_STATUS_UNSPECIFIED: _ClassVar[StepStatus]
    STEP_STATUS_PENDING: _ClassVar[StepStatus]
    STEP_STATUS_RUNNING: _ClassVar[StepStatus]
    STEP_STATUS_EXECUTING_INTENTS: _ClassVar[StepStatus]
    STEP_STATUS_COMPLETED: _ClassVar[StepStatus]
    STEP_STATUS_SKIPPED: _ClassVar[StepStatus]
    STEP_STATUS_FAILED: _ClassVar[StepStatus]
    STEP_STATUS_CANCELLED: _ClassVar[StepStatus]
    STEP_STATUS_RETRYING: _ClassVar[StepStatus]
COORDINATION_TYPE_UNSPECIFIED: CoordinationType
COORDINATION_TYPE_SEQUENTIAL: CoordinationType
COORDINATION_TYPE_PARALLEL: CoordinationType
COORDINATION_TYPE_PIPELINE: CoordinationType
COORDINATION_TYPE_EVENT_DRIVEN: CoordinationType
DURABILITY_UNSPECIFIED: Durability
DURABILITY_PURITY_AWARE: Durability
DURABILITY_EVERY_STEP: Durability
DEPENDENCY_TYPE_UNSPECIFIED: DependencyType
DEPENDENCY_TYPE_REQUIRED: DependencyType
DEPENDENCY_TYPE_OPTIONAL: DependencyType
WORKFLOW_STATUS_UNSPECIFIED: WorkflowStatus
WORKFLOW_STATUS_RUNNING: WorkflowStatus
WORKFLOW_STATUS_WAITING: WorkflowStatus
WORKFLOW_STATUS_COMPLETED: WorkflowStatus
WORKFLOW_STATUS_ABORTED: WorkflowStatus
WORKFLOW_STATUS_CANCELLED: WorkflowStatus
WORKFLOW_STATUS_COMPENSATING: WorkflowStatus
STEP_STATUS_UNSPECIFIED: StepStatus
STEP_STATUS_PENDING: StepStatus
STEP_STATUS_RUNNING: StepStatus
STEP_STATUS_EXECUTING_INTENTS: StepStatus
STEP_STATUS_COMPLETED: StepStatus
STEP_STATUS_SKIPPED: StepStatus
STEP_STATUS_FAILED: StepStatus
STEP_STATUS_CANCELLED: StepStatus
STEP_STATUS_RETRYING: StepStatus

class Dependency(_message.Message):
    __slots__ = ("dependency_type", "service_name", "version_constraint")
    DEPENDENCY_TYPE_FIELD_NUMBER: _ClassVar[int]
    SERVICE_NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_CONSTRAINT_FIELD_NUMBER: _ClassVar[int]
    dependency_type: DependencyType
    service_name: str
    version_constraint: str
    def __init__(self, dependency_type: _Optional[_Union[DependencyType, str]] = ..., service_name: _Optional[str] = ..., version_constraint: _Optional[str] = ...) -> None: ...

class ConflictResolution(_message.Message):
    __slots__ = ("retry_conditions", "retry_enabled", "max_retries", "continue_on_error", "retry_config")
    RETRY_CONDITIONS_FIELD_NUMBER: _ClassVar[int]
    RETRY_ENABLED_FIELD_NUMBER: _ClassVar[int]
    MAX_RETRIES_FIELD_NUMBER: _ClassVar[int]
    CONTINUE_ON_ERROR_FIELD_NUMBER: _ClassVar[int]
    RETRY_CONFIG_FIELD_NUMBER: _ClassVar[int]
    retry_conditions: _containers.RepeatedScalarFieldContainer[str]
    retry_enabled: bool
    max_retries: int
    continue_on_error: bool
    retry_config: _common_pb2.RetryPolicy
    def __init__(self, retry_conditions: _Optional[_Iterable[str]] = ..., retry_enabled: _Optional[bool] = ..., max_retries: _Optional[int] = ..., continue_on_error: _Optional[bool] = ..., retry_config: _Optional[_Union[_common_pb2.RetryPolicy, _Mapping]] = ...) -> None: ...

class Step(_message.Message):
    __slots__ = ("step_id", "service_name", "parameters", "target_node_type", "command", "depends_on", "timeout", "on_failure")
    STEP_ID_FIELD_NUMBER: _ClassVar[int]
    SERVICE_NAME_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    TARGET_NODE_TYPE_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    DEPENDS_ON_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    ON_FAILURE_FIELD_NUMBER: _ClassVar[int]
    step_id: str
    service_name: str
    parameters: _struct_pb2.Struct
    target_node_type: _common_pb2.NodeKind
    command: _action_pb2.Command
    depends_on: _containers.RepeatedScalarFieldContainer[str]
    timeout: _duration_pb2.Duration
    on_failure: ConflictResolution
    def __init__(self, step_id: _Optional[str] = ..., service_name: _Optional[str] = ..., parameters: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., target_node_type: _Optional[_Union[_common_pb2.NodeKind, str]] = ..., command: _Optional[_Union[_action_pb2.Command, _Mapping]] = ..., depends_on: _Optional[_Iterable[str]] = ..., timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., on_failure: _Optional[_Union[ConflictResolution, _Mapping]] = ...) -> None: ...

class WorkflowConfig(_message.Message):
    __slots__ = ("name", "version", "coordination_type", "steps", "durability", "output", "description")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    COORDINATION_TYPE_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    DURABILITY_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    coordination_type: CoordinationType
    steps: _containers.RepeatedCompositeFieldContainer[Step]
    durability: Durability
    output: _struct_pb2.Value
    description: str
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., coordination_type: _Optional[_Union[CoordinationType, str]] = ..., steps: _Optional[_Iterable[_Union[Step, _Mapping]]] = ..., durability: _Optional[_Union[Durability, str]] = ..., output: _Optional[_Union[_struct_pb2.Value, _Mapping]] = ..., description: _Optional[str] = ...) -> None: ...

class OrchestratorContract(_message.Message):
    __slots__ = ("correlation_id", "workflow_id", "initial_state", "workflow_config", "dependency_resolution", "conflict_resolution", "timeout", "metadata")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_ID_FIELD_NUMBER: _ClassVar[int]
    INITIAL_STATE_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_CONFIG_FIELD_NUMBER: _ClassVar[int]
    DEPENDENCY_RESOLUTION_FIELD_NUMBER: _ClassVar[int]
    CONFLICT_RESOLUTION_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    correlation_id: str
    workflow_id: str
    initial_state: _common_pb2.Payload
    workflow_config: WorkflowConfig
    dependency_resolution: _containers.RepeatedCompositeFieldContainer[Dependency]
    conflict_resolution: ConflictResolution
    timeout: _duration_pb2.Duration
    metadata: _containers.ScalarMap[str, str]
    def __init__(self, correlation_id: _Optional[str] = ..., workflow_id: _Optional[str] = ..., initial_state: _Optional[_Union[_common_pb2.Payload, _Mapping]] = ..., workflow_config: _Optional[_Union[WorkflowConfig, _Mapping]] = ..., dependency_resolution: _Optional[_Iterable[_Union[Dependency, _Mapping]]] = ..., conflict_resolution: _Optional[_Union[ConflictResolution, _Mapping]] = ..., timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., metadata: _Optional[_Mapping[str, str]] = ...) -> None: ...

class StepResult(_message.Message):
    __slots__ = ("step_id", "result", "execution_time", "status", "error", "attempts", "intent_results", "state_metadata", "executed_by", "metadata", "effect")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    STEP_ID_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    EXECUTION_TIME_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    INTENT_RESULTS_FIELD_NUMBER: _ClassVar[int]
    STATE_METADATA_FIELD_NUMBER: _ClassVar[int]
    EXECUTED_BY_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    EFFECT_FIELD_NUMBER: _ClassVar[int]
    step_id: str
    result: _common_pb2.Payload
    execution_time: _duration_pb2.Duration
    status: StepStatus
    error: _common_pb2.OnexError
    attempts: int
    intent_results: _containers.RepeatedCompositeFieldContainer[_intent_pb2.IntentResult]
    state_metadata: _reducer_pb2.StateMetadata
    executed_by: str
    metadata: _containers.ScalarMap[str, str]
    effect: _intent_pb2.EffectRecord
    def __init__(self, step_id: _Optional[str] = ..., result: _Optional[_Union[_common_pb2.Payload, _Mapping]] = ..., execution_time: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., status: _Optional[_Union[StepStatus, str]] = ..., error: _Optional[_Union[_common_pb2.OnexError, _Mapping]] = ..., attempts: _Optional[int] = ..., intent_results: _Optional[_Iterable[_Union[_intent_pb2.IntentResult, _Mapping]]] = ..., state_metadata: _Optional[_Union[_reducer_pb2.StateMetadata, _Mapping]] = ..., executed_by: _Optional[str] = ..., metadata: _Optional[_Mapping[str, str]] = ..., effect: _Optional[_Union[_intent_pb2.EffectRecord, _Mapping]] = ...) -> None: ...

class OrchestrationResult(_message.Message):
    __slots__ = ("step_results", "total_execution_time", "success_rate", "parallelism_achieved", "status", "output", "errors")
    STEP_RESULTS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_EXECUTION_TIME_FIELD_NUMBER: _ClassVar[int]
    SUCCESS_RATE_FIELD_NUMBER: _ClassVar[int]
    PARALLELISM_ACHIEVED_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    ERRORS_FIELD_NUMBER: _ClassVar[int]
    step_results: _containers.RepeatedCompositeFieldContainer[StepResult]
    total_execution_time: _duration_pb2.Duration
    success_rate: float
    parallelism_achieved: int
    status: WorkflowStatus
    output: _common_pb2.Payload
    errors: _common_pb2.PipelineErrorContext
    def __init__(self, step_results: _Optional[_Iterable[_Union[StepResult, _Mapping]]] = ..., total_execution_time: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., success_rate: _Optional[float] = ..., parallelism_achieved: _Optional[int] = ..., status: _Optional[_Union[WorkflowStatus, str]] = ..., output: _Optional[_Union[_common_pb2.Payload, _Mapping]] = ..., errors: _Optional[_Union[_common_pb2.PipelineErrorContext, _Mapping]] = ...) -> None: ...

class ExecutionMetadata(_message.Message):
    __slots__ = ("total_services", "execution_time", "success_rate", "coordination_type", "epoch", "replayed")
    TOTAL_SERVICES_FIELD_NUMBER: _ClassVar[int]
    EXECUTION_TIME_FIELD_NUMBER: _ClassVar[int]
    SUCCESS_RATE_FIELD_NUMBER: _ClassVar[int]
    COORDINATION_TYPE_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_FIELD_NUMBER: _ClassVar[int]
    total_services: int
    execution_time: _duration_pb2.Duration
    success_rate: float
    coordination_type: CoordinationType
    epoch: int
    replayed: bool
    def __init__(self, total_services: _Optional[int] = ..., execution_time: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., success_rate: _Optional[float] = ..., coordination_type: _Optional[_Union[CoordinationType, str]] = ..., epoch: _Optional[int] = ..., replayed: _Optional[bool] = ...) -> None: ...

class OrchestratorOutput(_message.Message):
    __slots__ = ("correlation_id", "workflow_id", "orchestration_result", "lease_id", "execution_metadata")
    CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_ID_FIELD_NUMBER: _ClassVar[int]
    ORCHESTRATION_RESULT_FIELD_NUMBER: _ClassVar[int]
    LEASE_ID_FIELD_NUMBER: _ClassVar[int]
    EXECUTION_METADATA_FIELD_NUMBER: _ClassVar[int]
    correlation_id: str
    workflow_id: str
    orchestration_result: OrchestrationResult
    lease_id: str
    execution_metadata: ExecutionMetadata
    def __init__(self, correlation_id: _Optional[str] = ..., workflow_id: _Optional[str] = ..., orchestration_result: _Optional[_Union[OrchestrationResult, _Mapping]] = ..., lease_id: _Optional[str] = ..., execution_metadata: _Optional[_Union[ExecutionMetadata, _Mapping]] = ...) -> None: ...

class StepState(_message.Message):
    __slots__ = ("status", "attempts", "result_epoch", "retry_at")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    RESULT_EPOCH_FIELD_NUMBER: _ClassVar[int]
    RETRY_AT_FIELD_NUMBER: _ClassVar[int]
    status: StepStatus
    attempts: int
    result_epoch: int
    retry_at: _timestamp_pb2.Timestamp
    def __init__(self, status: _Optional[_Union[StepStatus, str]] = ..., attempts: _Optional[int] = ..., result_epoch: _Optional[int] = ..., retry_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ReducerState(_message.Message):
    __slots__ = ("reducer", "state", "fsm_state")
    REDUCER_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    FSM_STATE_FIELD_NUMBER: _ClassVar[int]
    reducer: str
    state: _common_pb2.Payload
    fsm_state: str
    def __init__(self, reducer: _Optional[str] = ..., state: _Optional[_Union[_common_pb2.Payload, _Mapping]] = ..., fsm_state: _Optional[str] = ...) -> None: ...

class WorkflowState(_message.Message):
    __slots__ = ("workflow_id", "correlation_id", "name", "status", "steps", "reducer_states", "contract_digest", "started_at", "updated_at", "start_action_id", "error", "parallelism_achieved", "data", "execution_time", "external")
    class ReducerStatesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: ReducerState
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[ReducerState, _Mapping]] = ...) -> None: ...
    WORKFLOW_ID_FIELD_NUMBER: _ClassVar[int]
    CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    REDUCER_STATES_FIELD_NUMBER: _ClassVar[int]
    CONTRACT_DIGEST_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    UPDATED_AT_FIELD_NUMBER: _ClassVar[int]
    START_ACTION_ID_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    PARALLELISM_ACHIEVED_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    EXECUTION_TIME_FIELD_NUMBER: _ClassVar[int]
    EXTERNAL_FIELD_NUMBER: _ClassVar[int]
    workflow_id: str
    correlation_id: str
    name: str
    status: WorkflowStatus
    steps: _containers.RepeatedCompositeFieldContainer[StepState]
    reducer_states: _containers.MessageMap[str, ReducerState]
    contract_digest: bytes
    started_at: _timestamp_pb2.Timestamp
    updated_at: _timestamp_pb2.Timestamp
    start_action_id: str
    error: _common_pb2.OnexError
    parallelism_achieved: int
    data: _common_pb2.Payload
    execution_time: _duration_pb2.Duration
    external: bool
    def __init__(self, workflow_id: _Optional[str] = ..., correlation_id: _Optional[str] = ..., name: _Optional[str] = ..., status: _Optional[_Union[WorkflowStatus, str]] = ..., steps: _Optional[_Iterable[_Union[StepState, _Mapping]]] = ..., reducer_states: _Optional[_Mapping[str, ReducerState]] = ..., contract_digest: _Optional[bytes] = ..., started_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., updated_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., start_action_id: _Optional[str] = ..., error: _Optional[_Union[_common_pb2.OnexError, _Mapping]] = ..., parallelism_achieved: _Optional[int] = ..., data: _Optional[_Union[_common_pb2.Payload, _Mapping]] = ..., execution_time: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., external: _Optional[bool] = ...) -> None: ...

class Commit(_message.Message):
    __slots__ = ("commit_id", "workflow_id", "epoch", "actions", "results", "intents", "previous_hash", "state", "committed_at", "lease_id", "fencing_token", "holder", "contract", "output")
    COMMIT_ID_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_ID_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    ACTIONS_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    INTENTS_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_HASH_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_AT_FIELD_NUMBER: _ClassVar[int]
    LEASE_ID_FIELD_NUMBER: _ClassVar[int]
    FENCING_TOKEN_FIELD_NUMBER: _ClassVar[int]
    HOLDER_FIELD_NUMBER: _ClassVar[int]
    CONTRACT_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    commit_id: str
    workflow_id: str
    epoch: int
    actions: _containers.RepeatedCompositeFieldContainer[_action_pb2.ActionRecord]
    results: _containers.RepeatedCompositeFieldContainer[StepResult]
    intents: _containers.RepeatedCompositeFieldContainer[_intent_pb2.Intent]
    previous_hash: bytes
    state: WorkflowState
    committed_at: _timestamp_pb2.Timestamp
    lease_id: str
    fencing_token: int
    holder: str
    contract: OrchestratorContract
    output: _common_pb2.Payload
    def __init__(self, commit_id: _Optional[str] = ..., workflow_id: _Optional[str] = ..., epoch: _Optional[int] = ..., actions: _Optional[_Iterable[_Union[_action_pb2.ActionRecord, _Mapping]]] = ..., results: _Optional[_Iterable[_Union[StepResult, _Mapping]]] = ..., intents: _Optional[_Iterable[_Union[_intent_pb2.Intent, _Mapping]]] = ..., previous_hash: _Optional[bytes] = ..., state: _Optional[_Union[WorkflowState, _Mapping]] = ..., committed_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., lease_id: _Optional[str] = ..., fencing_token: _Optional[int] = ..., holder: _Optional[str] = ..., contract: _Optional[_Union[OrchestratorContract, _Mapping]] = ..., output: _Optional[_Union[_common_pb2.Payload, _Mapping]] = ...) -> None: ...

class Workflow(_message.Message):
    __slots__ = ("workflow_id", "name", "status", "epoch", "correlation_id", "owner", "started_at", "updated_at", "result", "steps", "fsm_states", "error", "coordination_type")
    class FsmStatesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    WORKFLOW_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    UPDATED_AT_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    FSM_STATES_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    COORDINATION_TYPE_FIELD_NUMBER: _ClassVar[int]
    workflow_id: str
    name: str
    status: WorkflowStatus
    epoch: int
    correlation_id: str
    owner: str
    started_at: _timestamp_pb2.Timestamp
    updated_at: _timestamp_pb2.Timestamp
    result: OrchestrationResult
    steps: _containers.RepeatedCompositeFieldContainer[StepSummary]
    fsm_states: _containers.ScalarMap[str, str]
    error: _common_pb2.OnexError
    coordination_type: CoordinationType
    def __init__(self, workflow_id: _Optional[str] = ..., name: _Optional[str] = ..., status: _Optional[_Union[WorkflowStatus, str]] = ..., epoch: _Optional[int] = ..., correlation_id: _Optional[str] = ..., owner: _Optional[str] = ..., started_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., updated_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., result: _Optional[_Union[OrchestrationResult, _Mapping]] = ..., steps: _Optional[_Iterable[_Union[StepSummary, _Mapping]]] = ..., fsm_states: _Optional[_Mapping[str, str]] = ..., error: _Optional[_Union[_common_pb2.OnexError, _Mapping]] = ..., coordination_type: _Optional[_Union[CoordinationType, str]] = ...) -> None: ...

class StepSummary(_message.Message):
    __slots__ = ("step_id", "status", "attempts", "node_kind")
    STEP_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    NODE_KIND_FIELD_NUMBER: _ClassVar[int]
    step_id: str
    status: StepStatus
    attempts: int
    node_kind: _common_pb2.NodeKind
    def __init__(self, step_id: _Optional[str] = ..., status: _Optional[_Union[StepStatus, str]] = ..., attempts: _Optional[int] = ..., node_kind: _Optional[_Union[_common_pb2.NodeKind, str]] = ...) -> None: ...

class WorkflowStepCompleted(_message.Message):
    __slots__ = ("workflow_id", "step_id", "correlation_id", "result")
    WORKFLOW_ID_FIELD_NUMBER: _ClassVar[int]
    STEP_ID_FIELD_NUMBER: _ClassVar[int]
    CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    workflow_id: str
    step_id: str
    correlation_id: str
    result: StepResult
    def __init__(self, workflow_id: _Optional[str] = ..., step_id: _Optional[str] = ..., correlation_id: _Optional[str] = ..., result: _Optional[_Union[StepResult, _Mapping]] = ...) -> None: ...
