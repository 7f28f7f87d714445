"""Algorithms that an App declares pure are read as reducers are: what is plainly not pure is refused when it loads."""

from __future__ import annotations

import time
from collections.abc import Callable

from onex_mesh.reducer.core.purity import check_function
from onex_mesh.runtime.errors import PurityViolationError

HINT = "an algorithm is pure unless it is declared with pure=False; then it is never run twice, nor kept"
_ALLOWED = (time.sleep,)
"""Waiting changes no result; algorithms may take their time."""
_WAY_OUT_OF_REDUCERS = ": use ctx."


def check_algorithm(*functions: Callable[..., object]) -> None:
    """Refuses functions of an algorithm that are plainly not pure: recovery would compute another result.

    Raises:
        PurityViolationError: With file and line of what they would do, and the way out.
    """
    for function in functions:
        try:
            check_function(function, allowed=_ALLOWED)
        except PurityViolationError as error:
            told = error.message.partition(_WAY_OUT_OF_REDUCERS)[0]
            raise PurityViolationError(f"{told}; {HINT}", error_context=error.error_context) from None
