"""Credentials: named in the targets file, read from the environment or a file when a target opens, never shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from onex_mesh.runtime.errors import ValidationError


@dataclass(frozen=True, slots=True)
class Secret:
    """A credential that does not show itself in logs, errors and tracebacks."""

    value: str = field(repr=False)

    def __str__(self) -> str:
        return "***"


def read_secret(target: str, env: str | None, file: Path | None, environment: Mapping[str, str]) -> Secret | None:
    """The credential that a target names; None where it names none.

    Raises:
        ValidationError: The variable is not set, or the file cannot be read or is empty.
    """
    if env is not None:
        value = environment.get(env)
        if not value:
            raise ValidationError(f"target {target!r}: the variable {env} is not set", violations=((target, env),))
        return Secret(value)
    if file is not None:
        try:
            value = file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ValidationError(f"target {target!r}: {file} cannot be read") from error
        if not value:
            raise ValidationError(f"target {target!r}: {file} is empty", violations=((target, str(file)),))
        return Secret(value)
    return None
