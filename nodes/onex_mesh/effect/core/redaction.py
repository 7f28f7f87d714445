"""Credentials are taken out of what is written about a target, whoever put them there: some servers repeat them."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from onex_mesh.effect.core.targets import TargetConfig, fields_of
from onex_mesh.runtime.errors import OnexError

_SHOWN = "***"
_LENGTH_MIN = 4
"""Shorter ones would blacken words that have nothing to do with them, and protect nothing."""
_PART_LENGTH_MIN = 8
_URL_PARTS = re.compile(r"[/:?&=#]")
_PUBLIC = ("ca_file", "certificate_file")


class Redactor:
    """Replaces some texts wherever they stand.

    Args:
        secrets: The texts.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        # The longest first: one may be a part of another.
        self._secrets = sorted({row for row in secrets if len(row) >= _LENGTH_MIN}, key=len, reverse=True)

    def text(self, text: str) -> str:
        """The text without credentials."""
        for secret in self._secrets:
            text = text.replace(secret, _SHOWN)
        return text

    def error(self, error: OnexError) -> None:
        """Takes credentials out of an error, and out of those that caused it where they travel along."""
        if not self._secrets:
            return
        cause: BaseException | None = error
        while isinstance(cause, OnexError):
            cause.message = self.text(cause.message)
            cause.args = (cause.message,)
            cause.error_context = {key: self._value(value) for key, value in cause.error_context.items()}
            cause = cause.__cause__

    def trace(self, error: BaseException) -> str:
        """The traceback of an error as text, without credentials."""
        return self.text("".join(traceback.format_exception(error)).rstrip())

    def _value(self, value: object) -> object:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {key: self._value(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._value(item) for item in value]
        return value


NOTHING_SECRET = Redactor()


def redactor_of(config: TargetConfig, environment: Mapping[str, str]) -> Redactor:
    """What knows the credentials that a declaration names: by fields ending in `_env`, and in `_file`. Reads files."""
    return Redactor(_secrets(config, environment))


def _secrets(config: TargetConfig, environment: Mapping[str, str]) -> Iterator[str]:
    for name, value in fields_of(config):
        if name.endswith("_env"):
            for variable in value.values() if isinstance(value, Mapping) else (value,):
                if isinstance(variable, str):
                    yield from _parts(environment.get(variable, ""))
        elif name.endswith("_file") and name not in _PUBLIC and isinstance(value, Path):
            try:
                yield from _parts(value.read_text(encoding="utf-8"))
            except (OSError, UnicodeDecodeError):
                # Whoever needs it says so when the target is opened; a binary file is nothing that a text could hold.
                continue


def _parts(secret: str) -> Iterator[str]:
    """A credential, and those parts of it that could be repeated without the rest."""
    secret = secret.strip()
    yield secret
    # Keys and the like have several lines.
    yield from (line.strip() for line in secret.splitlines() if len(line.strip()) >= _PART_LENGTH_MIN)
    scheme, separator, rest = secret.partition("://")
    if separator and scheme.isalnum():
        # Of a URL that is a credential: who logs in, the path and the query; its host is none.
        login, _, address = rest.rpartition("@")
        _, _, path = address.partition("/")
        yield from (part for part in _URL_PARTS.split(f"{login}/{path}") if len(part) >= _PART_LENGTH_MIN)
