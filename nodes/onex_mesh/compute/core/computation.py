"""One computation from contract to output, but for where its parts run (R29–R39)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pydantic
from pydantic import BaseModel

from onex.v1 import compute_pb2
from onex_mesh.compute.core.algorithm import Algorithm
from onex_mesh.compute.core.context import ComputeContext
from onex_mesh.compute.core.data import violations_error
from onex_mesh.compute.core.errors import failure_of
from onex_mesh.compute.core.output import encoded, output_schema, shaped, size_of
from onex_mesh.compute.core.received import Received
from onex_mesh.compute.core.rules import Rules
from onex_mesh.compute.core.validation import validate_input
from onex_mesh.runtime.errors import ComputeFailedError, OnexError, ValidationError
from onex_mesh.runtime.payload import from_struct, from_value, to_struct


@dataclass(frozen=True, slots=True)
class Task:
    """A call of an algorithm on data or a chunk of it. Can be sent to a worker process."""

    algorithm: Algorithm
    data: object
    params: BaseModel | None
    context: ComputeContext
    inputs: Mapping[str, object] = field(default_factory=dict)


def prepared(
    contract: compute_pb2.ComputeContract,
    algorithm: Algorithm,
    context: ComputeContext,
    received: Received | None = None,
    inputs: Mapping[str, Received] | None = None,
) -> Task:
    """The task of a contract: its data read and checked, its parameters too.

    Args:
        contract: The contract.
        algorithm: Its algorithm.
        context: What the algorithm is told.
        received: Its input, where that was taken out of it already.
        inputs: Its further inputs, likewise.

    Raises:
        ValidationError: They do not fit; with all violations and their paths (R36, R37).
    """
    data = (received or Received(contract.input_data)).read()
    rules = contract.input_validation
    schema = from_struct(rules.json_schema)
    validate_input(data, rules.required_fields, rules.data_types, _rules(rules), schema)
    if inputs is None:
        inputs = {name: Received(contract.inputs[name]) for name in sorted(contract.inputs)}
    return Task(algorithm, data, _params(algorithm, contract), context, _read_inputs(algorithm, inputs))


def _read_inputs(algorithm: Algorithm, inputs: Mapping[str, Received]) -> dict[str, object]:
    """The further inputs by name; those that are not given and need not be are left out."""
    names = {one.name for one in algorithm.inputs}
    known = f"it takes {', '.join(sorted(names))}" if names else "it takes none"
    violations = [
        (f"inputs.{name}", f"the algorithm {algorithm.name!r} has no such input: {known}")
        for name in inputs
        if name not in names
    ]
    violations += [
        (f"inputs.{one.name}", "is required and missing")
        for one in algorithm.inputs
        if one.required and one.name not in inputs
    ]
    if violations:
        at, text = violations[0]
        raise ValidationError(f"{at}: {text}", violations=tuple(violations))
    return {name: received.read(f"inputs.{name}") for name, received in inputs.items()}


def _rules(validation: compute_pb2.InputValidation) -> dict[str, Rules]:
    return {
        field: Rules(
            minimum=given.minimum if given.HasField("minimum") else None,
            maximum=given.maximum if given.HasField("maximum") else None,
            pattern=given.pattern,
            min_length=given.min_length if given.HasField("min_length") else None,
            max_length=given.max_length if given.HasField("max_length") else None,
            one_of=tuple(from_value(value) for value in given.one_of),
        )
        for field, given in sorted(validation.rules.items())
    }


def run(task: Task) -> object:
    """Calls the algorithm. Runs wherever the engine sends it.

    Raises:
        OnexError: The data does not fit the algorithm, or it failed.
    """
    algorithm, context = task.algorithm, task.context
    context.check()
    try:
        data = algorithm.input.read(task.data, context.offset)
        inputs = {
            one.name: one.form.read(task.inputs[one.name], at=f"inputs.{one.name}")
            for one in algorithm.inputs
            if one.name in task.inputs
        }
        return algorithm.call(data, task.params, context, inputs)
    except OnexError:
        raise
    except Exception as error:
        raise failure_of(error, algorithm.function, algorithm.name) from error


def finished(
    contract: compute_pb2.ComputeContract,
    algorithm: Algorithm,
    result: object,
    correlation_id: str,
    output: compute_pb2.ComputeOutput | None = None,
) -> compute_pb2.ComputeOutput:
    """The output for a result, without how long it took.

    A large result is in memory once while it is encoded, and what it was made of is let go before it is copied into
    the output, unless the caller holds on to it.

    Args:
        contract: The contract.
        algorithm: Its algorithm.
        result: What the algorithm returned.
        correlation_id: The request.
        output: The message to fill, which may be a part of another one. Default: a new one.

    Raises:
        ComputeFailedError: The result is not of the type that the algorithm declares, or a part of it cannot be JSON;
            with the path of what cannot (F22).
        ValidationError: It has not the shape that the contract asks for.
    """
    try:
        value = algorithm.output.write(result)
    except ValueError as error:
        raise _refused(algorithm, str(error)) from None
    del result
    output = compute_pb2.ComputeOutput() if output is None else output
    output.correlation_id = correlation_id
    metrics = output.performance_metrics
    metrics.data_size = size_of(value)
    metrics.algorithm_type, metrics.algorithm_version = algorithm.name, algorithm.version
    metrics.worker_count = 1
    _tell_schema(output, output_schema(value, algorithm.output, contract.output_transformation.format))
    content = encoded(shaped(value, contract.output_transformation.format), contract.output_transformation.format)
    del value
    try:
        content.fill(output.processed_data)
    except ValidationError as error:
        raise _refused(algorithm, error.message) from None
    return output


def _tell_schema(output: compute_pb2.ComputeOutput, schema: dict[str, object] | None) -> None:
    """Puts a schema into an output. One whose bounds a Struct cannot say exactly (beyond 2^53) is left out."""
    if schema is None:
        return
    try:
        output.output_schema.CopyFrom(to_struct(schema))
    except ValidationError:
        return


def _refused(algorithm: Algorithm, text: str) -> ComputeFailedError:
    return ComputeFailedError(
        f"the result of the algorithm {algorithm.name!r} is refused: {text}",
        error_context={"algorithm_type": algorithm.name},
    )


def _params(algorithm: Algorithm, contract: compute_pb2.ComputeContract) -> BaseModel | None:
    given = from_struct(contract.algorithm_config.parameters)
    if algorithm.params_model is None:
        if given:
            text = f"the algorithm {algorithm.name!r} takes no parameters"
            raise ValidationError(text, violations=(("algorithm_config.parameters", text),))
        return None
    try:
        return algorithm.params_model.model_validate(given)
    except pydantic.ValidationError as error:
        raise violations_error(error, "algorithm_config.parameters") from None
