"""The workflows that an application defines, by name."""

from __future__ import annotations

from collections.abc import Iterator

from onex.v1 import workflow_pb2
from onex_mesh.orchestrator.core.plan import compile_plan
from onex_mesh.runtime.errors import ValidationError, WorkflowNotFoundError


class WorkflowRegistry:
    """Named workflow definitions."""

    def __init__(self) -> None:
        self._contracts: dict[str, workflow_pb2.OrchestratorContract] = {}

    def add(self, contract: workflow_pb2.OrchestratorContract) -> None:
        """Registers a definition: a contract without id and input.

        Raises:
            ValidationError: It has no name, its name is taken, or its contract is wrong; with field paths.
        """
        name = contract.workflow_config.name
        if not name:
            raise _refused("workflow_config.name", "a definition needs a name")
        if name in self._contracts:
            raise _refused("workflow_config.name", f"a workflow {name!r} is registered already")
        compile_plan(contract)
        kept = workflow_pb2.OrchestratorContract()
        kept.CopyFrom(contract)
        self._contracts[name] = kept

    def get(self, name: str) -> workflow_pb2.OrchestratorContract:
        """The definition of that name.

        Raises:
            WorkflowNotFoundError: There is none; the message names those that there are.
        """
        try:
            return self._contracts[name]
        except KeyError:
            known = ", ".join(sorted(self._contracts)) or "none"
            raise WorkflowNotFoundError(
                f"no workflow is defined as {name!r}; defined: {known}", error_context={"name": name}
            ) from None

    def names(self) -> Iterator[str]:
        """The names, sorted."""
        return iter(sorted(self._contracts))

    def filled_in(self, contract: workflow_pb2.OrchestratorContract) -> workflow_pb2.OrchestratorContract:
        """The contract with its steps: its own, or those of the definition that it names.

        Raises:
            WorkflowNotFoundError: It names a definition that there is not.
        """
        complete = workflow_pb2.OrchestratorContract()
        if contract.workflow_config.steps or not contract.workflow_config.name:
            complete.CopyFrom(contract)
            return complete
        complete.CopyFrom(self.get(contract.workflow_config.name))
        given = workflow_pb2.OrchestratorContract()
        given.CopyFrom(contract)
        given.ClearField("workflow_config")
        complete.MergeFrom(given)
        if contract.workflow_config.durability:
            complete.workflow_config.durability = contract.workflow_config.durability
        return complete


def _refused(field: str, text: str) -> ValidationError:
    return ValidationError(f"{field}: {text}", violations=((field, text),))
