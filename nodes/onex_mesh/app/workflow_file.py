"""Workflow definitions from YAML files and Python mappings: the same contract either way.

The fields of `WorkflowConfig` (name, version, steps, …) and those of `OrchestratorContract` (conflict_resolution,
dependency_resolution, timeout, …) stand side by side. What belongs to one run, its id and input, is not part of a
definition and is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from onex.v1 import workflow_pb2
from onex_mesh.app.contract_form import fill_fields
from onex_mesh.runtime.document import Document, read_document
from onex_mesh.runtime.violations import Violations, describe

_OF_A_RUN = {
    "workflow_id": "give it when the workflow is started (--id)",
    "correlation_id": "it belongs to a run",
    "initial_state": "the input is given when the workflow is started (--input)",
}
_CONFIG_FIELDS = tuple(workflow_pb2.WorkflowConfig.DESCRIPTOR.fields_by_name)
_CONTRACT_FIELDS = tuple(
    name
    for name in workflow_pb2.OrchestratorContract.DESCRIPTOR.fields_by_name
    if name not in _OF_A_RUN and name != "workflow_config"
)


def load_workflow(path: Path) -> workflow_pb2.OrchestratorContract:
    """Reads the workflow definition in a YAML file.

    Raises:
        ValidationError: The file cannot be read or a field does not fit; file, line and field are in the message.
    """
    return workflow_contract(read_document(path))


def workflow_contract(document: Document) -> workflow_pb2.OrchestratorContract:
    """The contract that a document describes.

    Raises:
        ValidationError: With every violation; file, line and field are in the message.
    """
    violations = Violations()
    contract = workflow_pb2.OrchestratorContract()
    if isinstance(document.value, Mapping):
        _fill_contract(contract, document.value, violations)
    else:
        violations.add("", f"a workflow is a mapping, found {describe(document.value)}")
    if not violations.found and not contract.workflow_config.name:
        violations.add("name", "a workflow needs a name")
    if not violations.found and not contract.workflow_config.steps:
        violations.add("steps", "a workflow has at least one step")
    if violations.found:
        raise document.refused(tuple(violations.found))
    return contract


def _fill_contract(
    contract: workflow_pb2.OrchestratorContract, values: Mapping[str, object], violations: Violations
) -> None:
    for key, value in values.items():
        if key in _OF_A_RUN:
            violations.add(key, f"{key} is not part of a definition: {_OF_A_RUN[key]}")
        elif key in _CONFIG_FIELDS:
            fill_fields(contract.workflow_config, {key: value}, "", violations)
        elif key in _CONTRACT_FIELDS:
            fill_fields(contract, {key: value}, "", violations)
        else:
            violations.unknown("", key, [*_CONFIG_FIELDS, *_CONTRACT_FIELDS])


def document_path(contract_path: str) -> str:
    """The path in a definition of a field of its contract, as the checks of the orchestrator name it.

    `workflow_config.steps[0].command.compute.input_data` stands at `steps[0].compute.input_data`.
    """
    path = contract_path.removeprefix("workflow_config.")
    return path.replace("].command.", "].") if path.startswith("steps[") else path
