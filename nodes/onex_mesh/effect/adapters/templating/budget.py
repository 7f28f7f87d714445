"""What one rendering may cost: steps, characters and time, counted while the template runs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import jinja2

_STEPS_MAX = 50_000
_RENDER_S_MAX = 1.0
_CHARS_PER_STEP = 4_096


class TooManyStepsError(jinja2.TemplateRuntimeError):
    """The template goes on for too long."""


class TooLargeError(jinja2.TemplateRuntimeError):
    """The template makes more text than it may."""


@dataclass(slots=True)
class Budget:
    """What is left. Steps are the real bound; the time is for what the steps misjudge."""

    chars: int
    steps: int
    ends_at: float

    def step(self, worked_on: int = 0) -> None:
        """Counts a step, and more of them if it works on many characters or items.

        Raises:
            TooManyStepsError: There are none left.
        """
        self.steps -= 1 + worked_on // _CHARS_PER_STEP
        if self.steps < 0 or time.monotonic() > self.ends_at:
            raise TooManyStepsError(f"needs more than {_STEPS_MAX} steps or {_RENDER_S_MAX:g} s for this data")

    def make(self, chars: int) -> None:
        """Counts text or items before they are made.

        Raises:
            TooLargeError: They are too many.
        """
        self.chars -= chars
        if self.chars < 0:
            raise TooLargeError("makes more text than the target takes")


_budget: ContextVar[Budget | None] = ContextVar("onex_template_budget", default=None)


@contextmanager
def limited(chars_max: int) -> Iterator[None]:
    """Bounds everything that is rendered, or folded by the compiler, in the block."""
    token = _budget.set(Budget(chars_max, _STEPS_MAX, time.monotonic() + _RENDER_S_MAX))
    try:
        yield
    finally:
        _budget.reset(token)


def budget() -> Budget:
    """The budget of the rendering under way."""
    current = _budget.get()
    assert current is not None, "templates run within limited()"
    return current
