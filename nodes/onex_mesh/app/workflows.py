"""Workflow definitions as an App takes them: from a YAML file, a Python mapping, or a contract."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

from onex.v1 import workflow_pb2
from onex_mesh.app.workflow_file import document_path, workflow_contract
from onex_mesh.orchestrator.core.registry import WorkflowRegistry
from onex_mesh.runtime.document import Document, read_document
from onex_mesh.runtime.errors import ValidationError

WorkflowDefinition: TypeAlias = "str | Path | Mapping[str, object] | workflow_pb2.OrchestratorContract"


def register_workflow(
    registry: WorkflowRegistry, definition: WorkflowDefinition, *, folder: Path, where: str
) -> workflow_pb2.OrchestratorContract:
    """Adds a definition to the registry.

    Args:
        registry: Where it goes.
        definition: The path of a YAML file, a mapping of the same form, or a contract.
        folder: Where relative paths start.
        where: File and line that say so, for definitions without a file of their own.

    Raises:
        ValidationError: It does not fit; file, line and field are in the message.
    """
    if isinstance(definition, workflow_pb2.OrchestratorContract):
        document, contract = Document(source=where, value=None), definition
    else:
        if isinstance(definition, Mapping):
            document = Document(source=where, value=definition)
        else:
            document = read_document(folder / definition)
        contract = workflow_contract(document)
    try:
        registry.add(contract)
    except ValidationError as error:
        violations = error.violations or (("", error.message),)
        raise document.refused(tuple((document_path(path), text) for path, text in violations)) from error
    return contract
