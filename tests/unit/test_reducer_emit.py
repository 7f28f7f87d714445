"""Intents for databases as reducers make them."""

from __future__ import annotations

from onex_mesh.app import database_write


def test_a_row() -> None:
    """R89: operation, data and table; what is left out does not travel."""
    assert database_write("shop", data={"id": 1}).payload == {"operation": "insert", "data": {"id": 1}}
    updated = database_write("shop", operation="update", table="t", data={"n": None}, where={"id": 1}, expect_rows=0)
    assert updated.payload == {
        "operation": "update",
        "table": "t",
        "data": {"n": None},
        "where": {"id": 1},
        "expect_rows": 0,
    }


def test_a_statement_and_several_operations() -> None:
    """R16, R89: a statement of the target by its name, and several writes in one transaction."""
    call = database_write("shop", statement="restock", parameters={"by": 1}, expect_rows=1)
    assert call.payload == {"statement": "restock", "parameters": {"by": 1}, "expect_rows": 1}
    both = database_write("shop", operations=[{"data": {"id": 1}}, {"statement": "restock", "parameters": {"by": -1}}])
    assert list(both.payload) == ["operations"]
    assert len(both.payload["operations"]) == 2  # type: ignore[arg-type]  # a sequence, frozen
