"""Parameters of the built-in methods of aggregation."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from onex_mesh.reducer.core.aggregates.distinct import PRECISION_MAX, PRECISION_MIN
from onex_mesh.reducer.core.aggregates.top_k import CAPACITY_MAX, K_MAX

Share = Annotated[float, Field(ge=0, le=1)]


class Parameters(BaseModel):
    """Unknown ones are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class QuantilesParameters(Parameters):
    """Which quantiles, and how exactly."""

    quantiles: tuple[Share, ...] = Field((0.5, 0.9, 0.99), min_length=1, max_length=100)
    relative_error: float = Field(0.01, ge=0.0005, le=0.5)


class DistinctParameters(Parameters):
    """How many registers."""

    precision: int = Field(12, ge=PRECISION_MIN, le=PRECISION_MAX)


class TopKParameters(Parameters):
    """How many values, and which."""

    k: int = Field(10, ge=1, le=K_MAX)
    order: Literal["frequency", "largest", "smallest"] = "frequency"
    capacity: int | None = Field(None, ge=1, le=CAPACITY_MAX)

    @model_validator(mode="after")
    def _capacity_fits(self) -> TopKParameters:
        if self.capacity is not None and self.order != "frequency":
            raise ValueError("capacity is for the order 'frequency'")
        if self.capacity is not None and self.capacity < self.k:
            raise ValueError("capacity must not be less than k")
        return self

    @property
    def kept(self) -> int:
        """How many values are counted at most."""
        if self.order != "frequency":
            return self.k
        return self.capacity or min(CAPACITY_MAX, max(1_000, 10 * self.k))
