"""What all targets have in common as an operator declares them: limits, retry, breaker (R17, R154)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from onex_mesh.effect.core.breaker import BreakerRules
from onex_mesh.effect.core.budget import RetryBudget
from onex_mesh.effect.core.rate import TokenBucket
from onex_mesh.effect.core.retry import RetryRules

Seconds = Annotated[float, Field(gt=0, le=86_400)]


class FrozenModel(BaseModel):
    """What an operator declared: unknown keys are refused, nothing changes afterwards."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, str_max_length=16_384)


class Limits(FrozenModel):
    """Bounds of one target."""

    concurrency: Annotated[int, Field(ge=1, le=1024)] = 8
    """Calls at once; also the size of the connection pool."""
    waiting: Annotated[int, Field(ge=0, le=100_000)] = 1_000
    """Calls that may wait for their turn; more are refused with OVERLOADED."""
    timeout_s: Seconds = 10.0
    """Longest time for one attempt, waiting for the turn not counted."""
    size_bytes: Annotated[int, Field(ge=1, le=1_073_741_824)] = 1_048_576
    """Largest request body, response, file or mail."""
    rate_per_s: Annotated[float, Field(gt=0, le=1_000_000)] | None = None
    """Calls a second, over any longer time; those beyond wait within their deadline. Default: not limited."""
    burst: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Calls that may be made at once after a pause. Default: what the rate gives in a second, at least 1."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.burst is not None and self.rate_per_s is None:
            raise ValueError("burst: needs rate_per_s")
        return self

    def bucket(self, clock: Callable[[], float]) -> TokenBucket | None:
        """What limits the rate; None where nothing does."""
        if self.rate_per_s is None:
            return None
        return TokenBucket(self.rate_per_s, self.burst or max(1, int(self.rate_per_s)), clock)


class Retry(FrozenModel):
    """When plain effects are tried again whose contract does not say; intents are retried only as they say (R87)."""

    max_retries: Annotated[int, Field(ge=0, le=100)] = 3
    initial_backoff_s: Seconds = 0.1
    max_backoff_s: Seconds = 5.0
    backoff_multiplier: Annotated[float, Field(ge=1, le=100)] = 2.0
    jitter: Annotated[float, Field(ge=0, le=1)] = 0.1
    max_elapsed_s: Seconds | None = None
    budget_share: Annotated[float, Field(ge=0, le=100)] = 0.2
    """Retries of all callers together, for each call of the last ten seconds."""
    budget_per_s: Annotated[float, Field(ge=0, le=100_000)] = 10.0
    """Retries a second that are allowed beyond that share."""

    def rules(self) -> RetryRules:
        """The policy that the machinery follows."""
        return RetryRules(**self.model_dump(exclude={"budget_share", "budget_per_s"}))

    def budget(self, clock: Callable[[], float]) -> RetryBudget:
        """The budget that all callers share, also those with a policy of their own."""
        return RetryBudget(self.budget_share, self.budget_per_s, clock)


class BreakerSettings(FrozenModel):
    """When the target's breaker opens and closes."""

    failure_threshold: Annotated[int, Field(ge=1, le=10_000)] = 5
    recovery_s: Seconds = 10.0
    probes: Annotated[int, Field(ge=1, le=100)] = 1
    failure_rate: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Share of failures among the last `window_calls` calls that opens it, too."""
    window_calls: Annotated[int, Field(ge=2, le=10_000)] = 100
    slow_s: Seconds | None = None
    """An answer that took longer counts as a failure. Default: none does; a timeout always is one."""

    def rules(self) -> BreakerRules:
        """The rules that the breaker follows."""
        return BreakerRules(**self.model_dump())


class TargetConfig(FrozenModel):
    """What all kinds have in common. A kind of an operator's own derives from this."""

    effect_types: ClassVar[tuple[str, ...]] = ()
    """The effect types that targets of this kind take."""

    kind: str
    description: Annotated[str, Field(max_length=500)] = ""
    limits: Limits = Limits()
    retry: Retry = Retry()
    breaker: BreakerSettings = BreakerSettings()

    def resolved(self, folder: Path) -> Self:
        """The same target with relative paths taken from the folder of the file that declares it."""
        return self

    def refers_to(self) -> tuple[Path, ...]:
        """Files and folders that belong to the declaration: where their content changes, the target is opened anew.

        These are the fields whose name ends in `_file`, also within other fields, and `templates`. What effects read
        and write is not among them.
        """
        return tuple(
            value
            for name, value in fields_of(self)
            if isinstance(value, Path) and (name.endswith("_file") or name == "templates")
        )


def fields_of(model: BaseModel) -> Iterator[tuple[str, object]]:
    """The fields of a declaration by name, those of the declarations within it included."""
    for name in type(model).model_fields:
        value = getattr(model, name)
        yield name, value
        for inner in value if isinstance(value, tuple | list) else (value,):
            if isinstance(inner, BaseModel):
                yield from fields_of(inner)


class AuditSettings(FrozenModel):
    """Where the audit record of every interaction goes (R11)."""

    path: Path | None = None
    """A file of JSON lines. Default: only the log."""
    log: bool = True
    """Whether each record is a line of the node's log, too."""
    flush_interval_s: Seconds = 0.2
    """A crash of the process loses at most the records of so long."""

    def resolved(self, folder: Path) -> Self:
        """The file, taken from the folder."""
        return self if self.path is None else self.model_copy(update={"path": folder / self.path})
