"""What the links of a chain read: the context that came along, and what the links before returned."""

from __future__ import annotations

from onex.v1 import action_pb2, common_pb2
from onex_mesh.runtime.templates import CommandTemplate, Scope, compile_command

_TEMPLATES_KEPT = 1_024
_TEMPLATE_BYTES_KEPT = 64 * 1024


class TemplateCache:
    """Compiled commands. The links of a workflow come again with each run of it, byte for byte."""

    def __init__(self) -> None:
        self._templates: dict[bytes, CommandTemplate] = {}

    def get(self, command: action_pb2.Command) -> CommandTemplate:
        """The compiled command.

        Raises:
            ValidationError: It has a bad expression.
        """
        key = command.SerializeToString(deterministic=True)
        template = self._templates.get(key)
        if template is None:
            template = compile_command(command)
            # A large one carries its data in it; keeping those would keep the data of a thousand workflows.
            if len(key) <= _TEMPLATE_BYTES_KEPT:
                if len(self._templates) >= _TEMPLATES_KEPT:
                    self._templates.clear()
                self._templates[key] = template
        return template


class ChainScope:
    """The variables of a chain, which grow from link to link."""

    def __init__(self, chain: action_pb2.CommandChain) -> None:
        fields = chain.context.fields
        self._input = common_pb2.Payload()
        self._workflow: dict[str, str] = {}
        self._steps: dict[str, common_pb2.Payload] = {}
        self._statuses: dict[str, str] = {}
        if "input" in fields:
            self._input.json.CopyFrom(fields["input"])
        if "workflow" in fields:
            for key, value in fields["workflow"].struct_value.fields.items():
                self._workflow[key] = value.string_value
        if "steps" in fields:
            for step_id, step in fields["steps"].struct_value.fields.items():
                given = step.struct_value.fields
                if "output" in given:
                    self._steps[step_id] = common_pb2.Payload(json=given["output"])
                if "status" in given:
                    self._statuses[step_id] = given["status"].string_value

    def of(self, link: action_pb2.ChainLink) -> Scope:
        """The scope of one link."""
        return Scope(self._input, self._steps, link.parameters, self._workflow, self._statuses)

    def add(self, output: action_pb2.StepOutput) -> None:
        """Makes the output of a link readable for those after it."""
        if output.HasField("compute"):
            self._steps[output.step_id] = output.compute.processed_data
        else:
            self._steps[output.step_id] = output.reduction.aggregated_data
