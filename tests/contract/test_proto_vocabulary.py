"""The names of the contract: what the requirements call for, with exactly these values, and nothing unlisted."""

from __future__ import annotations

import pytest
from google.protobuf.descriptor import MethodDescriptor

from tests.contract.descriptors import enums, files, messages, services

# Enum → its values without the enum's prefix and without UNSPECIFIED, in order of their numbers from 1.
ENUMS: dict[str, str] = {
    "NodeKind": "EFFECT COMPUTE REDUCER ORCHESTRATOR",  # R1, R120
    "IntentType": "DATABASE_WRITE API_CALL FILE_OPERATION MESSAGE_PUBLISH CACHE_UPDATE NOTIFICATION CUSTOM",  # R74, R91
    "IntentPriority": "CRITICAL HIGH NORMAL LOW BACKGROUND",  # R77
    "IntentStatus": "PENDING COMPLETED FAILED",  # R85
    "CoordinationType": "SEQUENTIAL PARALLEL PIPELINE EVENT_DRIVEN",  # R97
    "DependencyType": "REQUIRED OPTIONAL",  # R99
    "StepStatus": "PENDING RUNNING EXECUTING_INTENTS COMPLETED SKIPPED FAILED CANCELLED RETRYING",  # R105, R109, R110
    "ActionType": "START_WORKFLOW DELEGATE_TASK UPDATE_STATE ABORT_WORKFLOW CHECKPOINT_STATE ROLLBACK_STATE",  # R117
    "ActionStatus": "PENDING IN_PROGRESS COMPLETED FAILED CANCELLED",  # R125
    "AggregationMethod": "SUM AVERAGE COUNT CUSTOM MIN MAX VARIANCE QUANTILES DISTINCT TOP_K",  # R54
    "WindowKind": "TUMBLING SLIDING SESSION",
    "LateData": "DROP REFUSE RETURN",
    "OutputFormat": "PASSTHROUGH JSON ARRAY DATAFRAME PARQUET",  # R38
    "MergeStrategy": "CONCATENATE REDUCE CUSTOM",  # R35
    "ExecutorKind": "THREADS PROCESSES DASK",  # R33, F20
    "HealthStatus": "HEALTHY DEGRADED UNHEALTHY",  # R156, R157
    "BreakerState": "CLOSED OPEN HALF_OPEN",  # R8
    "WorkflowStatus": "RUNNING WAITING COMPLETED ABORTED CANCELLED COMPENSATING",  # R104
    "Durability": "PURITY_AWARE EVERY_STEP",
    "DefinitionKind": "WORKFLOW REDUCER",
}

# Service → its methods; "name>" streams responses, ">name>" streams both ways.
SERVICES: dict[str, str] = {
    "EffectService": "ExecuteEffect ExecuteIntents> ListTargets",
    "ComputeService": "ExecuteCompute StreamCompute> ListAlgorithms",
    "ReducerService": "ExecuteReduction >StreamReduction> ListReducers",
    "ActionService": "ExecuteAction >Dispatch>",
    "OrchestratorService": "ExecuteOrchestration StartWorkflow GetWorkflow ListWorkflows WatchWorkflow> SignalWorkflow "
    "CancelWorkflow CheckpointWorkflow RollbackWorkflow GetHistory GetState PreviewAction",
    "LeaseService": "AcquireLease KeepAlive GetLease CommitState ReleaseLease",
    "DefinitionService": "ApplyDefinition GetDefinition ListDefinitions",
    "EventService": "Publish Subscribe>",
    "NodeService": "Describe GetHealth ListNodes",
}

# Requirement, message, fields that it calls for.
FIELDS: list[tuple[str, str, str]] = [
    (
        "R12, R16, R17",
        "EffectContract",
        "correlation_id external_service_config io_operation_config retry_config cache",
    ),
    ("R9, R79", "EffectContract", "idempotency_key"),
    ("R13", "EffectOutput", "correlation_id operation_result metadata"),
    ("R14, R15", "RetryPolicy", "max_retries initial_backoff max_backoff backoff_multiplier jitter max_elapsed"),
    ("R16", "IoOperationConfig", "effect_type operation parameters"),
    (
        "R30",
        "ComputeContract",
        "correlation_id input_data algorithm_config parallel_config input_validation output_transformation",
    ),
    ("R31", "AlgorithmConfig", "algorithm_type parameters"),
    ("R33, R35", "ParallelConfig", "worker_count merge_strategy"),
    ("R36, R37", "InputValidation", "required_fields data_types"),
    ("R38", "OutputTransformation", "format"),
    ("R39", "ComputeOutput", "correlation_id processed_data performance_metrics"),
    ("R39", "PerformanceMetrics", "execution_time data_size algorithm_type"),
    ("R43", "ComputeProgress", "done total elapsed"),
    (
        "R52, R55",
        "ReducerContract",
        "correlation_id input_data reduction_config transaction_config streaming_config memory_management "
        "backup_config current_state",
    ),
    ("R53", "ReductionConfig", "state_key aggregation_method"),
    ("R56", "StreamingConfig", "enabled chunk_size"),
    ("R58", "MemoryManagement", "buffer_size_mb"),
    ("R61", "BackupConfig", "backup_location version backup_type"),
    ("R62", "BackupRecord", "timestamp correlation_id state metadata"),
    ("R64", "ReducerOutput", "correlation_id aggregated_data state_metadata reduction_metrics intents"),
    ("R64", "ReductionMetrics", "records_processed reduction_ratio state_size"),
    ("R65", "StateMetadata", "previous_state new_state transition intents_emitted"),
    (
        "R73–R81",
        "Intent",
        "intent_id intent_type target payload priority correlation_id idempotency_key retry_policy metadata",
    ),
    ("R85", "IntentResult", "intent_id status result error"),
    (
        "R96",
        "OrchestratorContract",
        "correlation_id workflow_id initial_state workflow_config dependency_resolution conflict_resolution",
    ),
    ("R97, R98", "WorkflowConfig", "coordination_type steps"),
    ("R98", "Step", "step_id service_name parameters target_node_type"),
    ("R99", "Dependency", "dependency_type service_name version_constraint"),
    (
        "R102",
        "ConflictResolution",
        "retry_conditions retry_enabled max_retries continue_on_error retry_config",
    ),
    ("R107", "WorkflowStepCompleted", "workflow_id step_id correlation_id"),
    ("R110", "StepResult", "step_id result execution_time status error"),
    ("R111", "OrchestrationResult", "step_results total_execution_time success_rate parallelism_achieved"),
    (
        "R112",
        "OrchestratorOutput",
        "correlation_id workflow_id orchestration_result lease_id execution_metadata",
    ),
    ("R112", "ExecutionMetadata", "total_services execution_time success_rate coordination_type"),
    (
        "R116–R127",
        "Action",
        "action_id action_type lease_id epoch target_node command_payload correlation_id issued_at expires_at "
        "parent_action_id metadata",
    ),
    ("R125, F11", "ActionRecord", "action status"),
    ("R133", "Lease", "lease_id workflow_id expires_at epoch"),
    ("R142", "CommitStateRequest", "workflow_id lease_id expected_epoch commit"),
    ("R146", "Commit", "commit_id epoch actions results intents previous_hash lease_id fencing_token holder"),
    ("R148", "DataAvailable", "correlation_id data_location metadata"),
    ("R149", "OnexError", "message correlation_id error_context cause"),
    ("R151, R152", "PipelineErrorContext", "correlation_id error_chain failed_nodes total_errors"),
    ("R158", "NodeHealth", "status dependencies resource_usage error_rate"),
]

# What a node takes and gives carries the request it belongs to.
CARRIES_CORRELATION_ID = [
    "EffectContract",
    "EffectOutput",
    "ComputeContract",
    "ComputeOutput",
    "ReducerContract",
    "ReducerOutput",
    "OrchestratorContract",
    "OrchestratorOutput",
    "Intent",
    "Action",
    "WorkflowState",
    "WorkflowStepCompleted",
    "OnexError",
    "PipelineErrorContext",
    "DataAvailable",
    "Event",
]


def _screaming(name: str) -> str:
    return "".join(f"_{letter}" if letter.isupper() and at else letter for at, letter in enumerate(name)).upper()


def _streams(method: MethodDescriptor) -> str:
    return f"{'>' if method.client_streaming else ''}{method.name}{'>' if method.server_streaming else ''}"


@pytest.mark.parametrize("name", ENUMS)
def test_an_enum_has_exactly_its_values(name: str) -> None:
    """R1, R8, R33–R35, R38, R54, R74, R77, R85, R97, R99, R110, R117, R120, R125, R156: values and their numbers."""
    prefix = _screaming(name)
    expected = {f"{prefix}_UNSPECIFIED": 0}
    expected |= {f"{prefix}_{value}": number for number, value in enumerate(ENUMS[name].split(), start=1)}
    assert {value.name: value.number for value in enums()[name].values} == expected


def test_every_enum_is_listed_here() -> None:
    """A new enum comes with the list of its values."""
    assert sorted(enums()) == sorted(ENUMS)


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_exactly_its_methods(name: str) -> None:
    """R12, R29, R51, R95, R159: the services of the design, and which of their methods stream."""
    assert [_streams(method) for method in services()[name].methods] == SERVICES[name].split()


@pytest.mark.parametrize("name", SERVICES)
def test_methods_have_requests_and_responses_of_their_own(name: str) -> None:
    """A method can grow a field without a change to another one: XRequest and XResponse are its alone."""
    for method in services()[name].methods:
        assert (method.input_type.name, method.output_type.name) == (f"{method.name}Request", f"{method.name}Response")


def test_every_service_is_listed_here() -> None:
    """A new service comes with the list of its methods."""
    assert sorted(services()) == sorted(SERVICES)


@pytest.mark.parametrize(("requirement", "message", "fields"), FIELDS, ids=[f"{row[1]}-{row[0]}" for row in FIELDS])
def test_a_message_has_the_fields_that_the_requirements_name(requirement: str, message: str, fields: str) -> None:
    """R12–R17, R30–R39, R52–R65, R73–R85, R96–R112, R116–R127, R133, R142, R146, R148–R152, R158."""
    missing = [name for name in fields.split() if name not in messages()[message].fields_by_name]
    assert missing == [], requirement


@pytest.mark.parametrize("message", CARRIES_CORRELATION_ID)
def test_contracts_and_outputs_carry_the_correlation_id(message: str) -> None:
    """R5, R78, R122: every contract and output has a correlation_id."""
    assert "correlation_id" in messages()[message].fields_by_name


def test_an_action_has_no_status() -> None:
    """R128, F11: an issued action never changes, so its status lives in its record."""
    assert "status" not in messages()["Action"].fields_by_name
    assert "status" not in messages()["Intent"].fields_by_name


def test_everything_is_in_one_package() -> None:
    """Every file of proto/ belongs to onex.v1."""
    assert {file.package for file in files()} == {"onex.v1"}
