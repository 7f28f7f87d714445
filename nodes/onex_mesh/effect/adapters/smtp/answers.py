"""What a mail server's answers, and its silence, mean to the mesh (RFC 5321, section 4.2.1)."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import aiosmtplib

from onex_mesh.effect.adapters.templating.folder import has_controls
from onex_mesh.runtime.errors import EffectFailedError, OnexError, TargetUnavailableError

_WORDS_CHARS_MAX = 300
SERVICE_CLOSING = 421
"""The server ends the connection."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said."""

    code: int
    words: str

    @classmethod
    def of(cls, code: int, message: str) -> Answer:
        """An answer whose words can be shown: no control characters, no broken encoding, not long."""
        plain = message.encode(errors="replace").decode()
        words = "".join(" " if has_controls(letter) else letter for letter in plain)
        return cls(code, words[:_WORDS_CHARS_MAX])

    @property
    def is_temporary(self) -> bool:
        """4xx: trying again may help."""
        return 400 <= self.code < 500

    def __str__(self) -> str:
        return f"{self.code} {self.words}"


def failure(target: str, answer: Answer) -> OnexError:
    """The error of an answer: 4xx is temporary, anything else is final."""
    context: dict[str, object] = {"target": target, "smtp_code": answer.code}
    kind = TargetUnavailableError if answer.is_temporary else EffectFailedError
    return kind(f"{target!r} answered {answer}"[:_WORDS_CHARS_MAX], error_context=context)


@contextmanager
def smtp_errors(target: str, *, may_repeat: bool = True) -> Iterator[None]:
    """Turns errors of the mail library into those of the mesh.

    Args:
        target: Name of the target.
        may_repeat: Whether to try again where the server did not answer. Not without a key, once it may have taken the
            mail.
    """
    try:
        yield
    except aiosmtplib.SMTPAuthenticationError as error:
        # Its words could repeat what was sent.
        context: dict[str, object] = {"target": target, "smtp_code": error.code}
        kind = TargetUnavailableError if 400 <= error.code < 500 else EffectFailedError
        raise kind(f"{target!r} refused the credentials: {error.code}", error_context=context) from None
    except aiosmtplib.SMTPResponseException as error:
        raise failure(target, Answer.of(error.code, error.message)) from error
    except (aiosmtplib.SMTPServerDisconnected, aiosmtplib.SMTPTimeoutError, OSError) as error:
        if certificate := _certificate_problem(error):
            raise EffectFailedError(
                f"the certificate of mail server {target!r} is not accepted: {certificate}",
                error_context={"target": target},
            ) from error
        unavailable = TargetUnavailableError(
            f"mail server {target!r} cannot be reached or broke off: {type(error).__name__}",
            error_context={"target": target},
        )
        unavailable.retryable = may_repeat
        raise unavailable from error
    except aiosmtplib.SMTPException as error:
        # Something that the target needs and the server does not offer.
        raise EffectFailedError(f"mail server {target!r}: {error}", error_context={"target": target}) from error


def _certificate_problem(error: BaseException) -> str:
    """What is wrong with a server's certificate; empty where that is not the cause."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return cause.verify_message
        cause = cause.__cause__ or cause.__context__
    return ""
