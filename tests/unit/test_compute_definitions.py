"""What is refused when an algorithm is registered, each with file and line, and the forms that data takes."""

from __future__ import annotations

import pickle
import re
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Optional
from uuid import UUID

import pyarrow as pa
import pytest
from pydantic import BaseModel

from onex_mesh.compute.core import Algorithm, AlgorithmRegistry, ComputeContext, MergeStrategy
from onex_mesh.compute.core.builtin import with_builtins
from onex_mesh.compute.core.data import DataKind
from onex_mesh.compute.core.tables import table_of
from onex_mesh.runtime.definition import place_of
from onex_mesh.runtime.errors import ValidationError
from onex_mesh.runtime.payload import Json
from tests.algorithms import Line, square


class Params(BaseModel):
    """Parameters."""

    by: int = 1


class Opaque:
    """Nothing that pydantic knows."""


# Refused


def nothing() -> int:
    return 1


def data_by_name(*, data: int) -> int:
    return data


def data_not_annotated(data) -> int:  # type: ignore[no-untyped-def]  # what is tested
    return 1


def method(self, data: int) -> int:  # type: ignore[no-untyped-def]  # what is tested
    return data


def params_first(params: Params) -> int:
    return params.by


def input_not_annotated(data: int, more) -> int:  # type: ignore[no-untyped-def]  # noqa: ANN001, RUF100 - what is tested
    return data


def opaque_input(data: int, more: Opaque) -> int:
    return data


def params_plain(data: int, params: dict[str, int]) -> int:
    return data


def many(data: int, *rest: int) -> int:
    return data


def keywords(data: int, **rest: int) -> int:
    return data


def result_not_annotated(data: int):  # type: ignore[no-untyped-def]  # noqa: ANN201, RUF100 - what is tested
    return data


def opaque_data(data: Opaque) -> int:
    return 1


def opaque_result(data: int) -> Opaque:
    return Opaque()


def set_result(data: list[str]) -> set[str]:
    return set(data)


def nested_set_result(data: list[str]) -> dict[str, frozenset[str]]:
    return {"all": frozenset(data)}


def unknown_type(data: NoSuchType) -> int:  # type: ignore[name-defined]  # noqa: F821 - what is tested
    return 1


async def asynchronous(data: int) -> int:
    return data


def generating(data: int) -> Iterator[int]:
    yield data


async def both(data: int) -> AsyncIterator[int]:
    yield data


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (nothing, "an algorithm takes its data as the first parameter"),
        (data_by_name, "an algorithm takes its data as the first parameter"),
        (data_not_annotated, "the data 'data' is not annotated"),
        (method, "the first parameter is the data, not 'self'"),
        (params_first, "the first parameter is the data, not 'params'"),
        (input_not_annotated, "the input 'more' is not annotated"),
        (opaque_input, "the input 'more' is annotated with Opaque, which is neither a pydantic model"),
        (params_plain, "`params` is annotated with a pydantic model"),
        (many, "'rest' cannot be given by name; what comes after the data is"),
        (keywords, "'rest' cannot be given by name; what comes after the data is"),
        (result_not_annotated, "the return type is not annotated"),
        (opaque_data, "the data 'data' is annotated with Opaque, which is neither a pydantic model"),
        (opaque_result, "the result is annotated with Opaque, which is neither a pydantic model"),
        (set_result, "holds a set, whose order differs from run to run"),
        (nested_set_result, "holds a set, whose order differs from run to run"),
        (unknown_type, "an annotation cannot be resolved: name 'NoSuchType' is not defined"),
        (asynchronous, "`def`, not `async def`"),
        (generating, "an algorithm returns its result, it does not yield it"),
        (both, "`def`, not `async def`"),
    ],
)
def test_a_wrong_signature_is_refused_with_file_and_line(function: Callable[..., object], message: str) -> None:
    """R32: what an algorithm looks like is checked when it is registered, not when it first runs."""
    with pytest.raises(ValidationError, match=re.escape(message)) as caught:
        Algorithm.from_function(function)
    assert caught.value.message.startswith(f"{__file__}:{function.__code__.co_firstlineno}: ")


def bad_merge(partials: list[int], other: int) -> int:
    return other


async def async_merge(partials: list[int]) -> int:
    return 1


@pytest.mark.parametrize(
    ("merge", "message"),
    [
        (bad_merge, "merge takes the list of partial results, and `params` if the algorithm does"),
        (async_merge, "merge is a plain function"),
        (MergeStrategy.CUSTOM, "MergeStrategy.CUSTOM is said by giving the merge function itself"),
    ],
)
def test_a_wrong_merge_is_refused(merge: Any, message: str) -> None:
    """R35: with file and line."""
    with pytest.raises(ValidationError, match=re.escape(message)) as caught:
        Algorithm.from_function(square, merge=merge)
    assert re.match(r".+\.py:\d+: ", caught.value.message)


def of_bytes(data: bytes) -> int:
    return len(data)


def test_data_that_cannot_be_cut_has_no_merge() -> None:
    """R34: an algorithm over bytes or one object declares no way to merge chunks."""
    with pytest.raises(ValidationError, match="data of type bytes cannot be cut into chunks"):
        Algorithm.from_function(of_bytes, merge=MergeStrategy.CONCATENATE)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"name": "a b"}, "'a b' is not a name"), ({"version": "x"}, "'x' is not a version")],
)
def test_names_and_versions_are_checked(options: dict[str, str], message: str) -> None:
    """R32: what may stand in the registry."""
    with pytest.raises(ValidationError, match=message):
        AlgorithmRegistry().add_function(square, **options)  # type: ignore[arg-type]  # name or version


def test_a_name_and_version_are_taken_once_and_the_newest_is_the_default() -> None:
    """R32: by PEP 440, so 1.10 is newer than 1.9; the refusal tells where the first one stands."""
    registry = AlgorithmRegistry()
    for version in ("1.9", "1.10", "1.2"):
        registry.add_function(square, version=version)
    assert registry.get("square").version == "1.10"
    assert [algorithm.version for algorithm in registry] == ["1.2", "1.9", "1.10"]
    with pytest.raises(ValidationError, match=r"'square' 1\.9 is registered already, at ") as caught:
        registry.add_function(square, version="1.9")
    assert place_of(square) in caught.value.message


def mine(data: int) -> int:
    """My own sum."""
    return data


def test_an_algorithm_of_the_application_stands_before_a_built_in_one() -> None:
    """R32: a name that is taken is left as it is."""
    registry = AlgorithmRegistry()
    registry.add_function(mine, name="sum")
    assert with_builtins(registry).get("sum").description == "My own sum."
    assert registry.names().count("sum") == 1
    assert {"identity", "map", "statistics", "filter", "group_by"} <= set(registry.names())


# Forms


class Color(StrEnum):
    """An enum."""

    RED = "red"


class Rich(BaseModel):
    """What JSON has no types for."""

    amount: Decimal
    day: date
    at: datetime
    id: UUID
    color: Color
    parts: tuple[int, ...]


def rich(data: Rich) -> Rich:
    return data


def test_types_that_json_lacks_keep_their_meaning() -> None:
    """F22: decimals, dates, ids, enums and tuples go to JSON and back without loss."""
    form = Algorithm.from_function(rich).input
    plain = {
        "amount": "0.10",
        "day": "2026-01-02",
        "at": "2026-01-02T03:04:05Z",
        "id": "00000000-0000-0000-0000-000000000007",
        "color": "red",
        "parts": [1, 2],
    }
    value = form.read(plain)
    assert value == Rich(
        amount=Decimal("0.10"),
        day=date(2026, 1, 2),
        at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        id=UUID(int=7),
        color=Color.RED,
        parts=(1, 2),
    )
    assert form.write(value) == plain


def json_data(data: Json) -> Json:
    return data


def object_data(data: object) -> object:
    return data


def any_data(data: Any) -> Any:
    return data


def typed_data(data: list[Line]) -> Optional[Line]:  # noqa: UP045 - the old form is taken too
    return data[0] if data else None


def table_data(data: pa.Table) -> pa.Table:
    return data


@pytest.mark.parametrize(
    ("function", "kind"),
    [
        (json_data, DataKind.PLAIN),
        (object_data, DataKind.PLAIN),
        (any_data, DataKind.PLAIN),
        (typed_data, DataKind.TYPED),
        (of_bytes, DataKind.TYPED),
        (table_data, DataKind.TABLE),
    ],
)
def test_the_form_of_data_follows_the_annotation(function: Callable[..., object], kind: DataKind) -> None:
    """R31: plain JSON, anything that pydantic checks, or a table."""
    assert Algorithm.from_function(function).input.kind is kind


def test_rows_and_tables_are_turned_into_each_other() -> None:
    """F22: a table for whoever wants rows, and rows for whoever wants a table; columns that some rows lack are null."""
    rows = [{"sku": "a", "pence": 1}, {"sku": "b", "pence": 2}]
    table = pa.Table.from_pylist(rows)
    assert Algorithm.from_function(typed_data).input.read(table) == [Line(sku="a", pence=1), Line(sku="b", pence=2)]
    form = Algorithm.from_function(table_data).input
    assert form.read(table) is table
    uneven = form.read([{"a": 1}, {"b": "x"}])
    assert isinstance(uneven, pa.Table)
    assert uneven.to_pylist() == [{"a": 1, "b": None}, {"a": None, "b": "x"}]
    assert table_of([1, 2]).to_pylist() == [{"value": 1}, {"value": 2}]
    assert table_of({"a": 1}).to_pylist() == [{"a": 1}]
    for mixed, message in (([{"a": 1}, 2], "rows or of plain values"), ([{"a": 1}, {"a": "x"}], "the column 'a'")):
        with pytest.raises(ValidationError, match=message):
            table_of(mixed)


def test_data_that_does_not_fit_is_refused_with_all_its_paths() -> None:
    """R36, R37, F21: path, what is wrong, and what was found; at most 100, the total in the context."""
    form = Algorithm.from_function(typed_data).input
    with pytest.raises(ValidationError) as caught:
        form.read([{"sku": "a", "pence": "x"}, {"pence": 1}], 10)
    assert [path for path, _ in caught.value.violations] == ["input_data[10].pence", "input_data[11].sku"]
    assert "(found string)" in caught.value.violations[0][1]
    assert caught.value.violations[1][1] == "is required and missing"
    with pytest.raises(ValidationError) as caught:
        form.read([{}] * 80)
    assert len(caught.value.violations) == 100
    assert caught.value.error_context["total"] == 160


def test_schemas_are_told() -> None:
    """R32: JSON schemas where there are types; none where anything is taken."""
    algorithm = Algorithm.from_function(typed_data)
    schema = algorithm.input.schema()
    assert schema is not None
    assert schema["type"] == "array"
    assert Algorithm.from_function(json_data).input.schema() is None
    assert Algorithm.from_function(table_data).output.schema() is None


def with_everything(data: list[int], params: Params, ctx: ComputeContext) -> list[int]:
    """Multiplies.

    More about it.
    """
    return [item * params.by + ctx.offset for item in data]


def total(partials: list[list[int]], params: Params) -> list[int]:
    return [sum(sum(partial) for partial in partials) * params.by]


def test_a_definition_says_what_it_found() -> None:
    """R31, R32: name, description, parameters, context and merge, and what they are called with."""
    algorithm = Algorithm.from_function(with_everything, merge=total, pure=False)
    assert (algorithm.name, algorithm.version, algorithm.description) == ("with_everything", "1.0.0", "Multiplies.")
    assert (algorithm.chunkable, algorithm.merge, algorithm.pure) == (True, MergeStrategy.CUSTOM, False)
    assert algorithm.params_model is Params
    assert algorithm.call([1, 2], Params(by=3), ComputeContext(offset=1)) == [4, 7]
    assert algorithm.merged([[1], [2]], Params(by=2)) == [6]


def test_an_algorithm_travels_to_another_process() -> None:
    """R28: by reference to its function, which is looked at anew."""
    algorithm = Algorithm.from_function(with_everything, version="2.0", merge=total)
    again = pickle.loads(pickle.dumps(algorithm))  # noqa: S301 - our own bytes
    assert again.call([1], Params(by=3), ComputeContext()) == [3]
    assert (again.name, again.version, again.merge_function) == ("with_everything", "2.0", total)
