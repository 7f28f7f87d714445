"""The App of tests with large results, for node processes."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import BaseModel

from onex_mesh.app import App
from onex_mesh.effect.core.request import EffectContext

app = App("large")
BOOK = "ONEX_TEST_BOOK"
"""Names the variable with the path of the file in which each call of the effect is written down."""


class Size(BaseModel):
    """How large a result is wanted."""

    size: int


@app.algorithm()
def text(data: Size) -> dict[str, str]:
    """A text of a size."""
    return {"text": "x" * data.size}


@app.effect("charge", ledger=True)
def charge(parameters: Size, context: EffectContext) -> dict[str, str]:
    """Writes down that it was called, and returns a text of a size."""
    with Path(os.environ[BOOK]).open("a") as book:
        book.write(f"{context.workflow_id}\n")
    return {"receipt": context.idempotency_key, "text": "x" * parameters.size}
