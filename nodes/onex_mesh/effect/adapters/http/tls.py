"""The TLS of one target."""

from __future__ import annotations

import ssl

from onex_mesh.effect.core.kinds.tls import Tls
from onex_mesh.runtime.errors import ValidationError


def ssl_context(target: str, settings: Tls) -> ssl.SSLContext:
    """A context that verifies the server's certificate and name, TLS 1.2 or newer.

    Raises:
        ValidationError: A file cannot be read or does not hold what it should.
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.ca_file is not None:
        # Instead of the public ones: who names his authority means that one.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_verify_locations(settings.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise _unusable(target, "tls.ca_file", str(settings.ca_file), error) from error
    if settings.certificate_file is not None:
        try:
            # A key with a password is refused; the library would ask for it on the terminal.
            context.load_cert_chain(settings.certificate_file, settings.key_file, password=_no_password)
        except (OSError, ssl.SSLError, ValueError) as error:
            raise _unusable(target, "tls.certificate_file", str(settings.certificate_file), error) from error
    return context


def _no_password() -> str:
    raise ValueError("the key has a password")


def _unusable(target: str, field: str, path: str, error: Exception) -> ValidationError:
    reason = (error.strerror if isinstance(error, OSError) and error.strerror else "") or str(error)
    text = f"{path} cannot be used: {reason}"
    return ValidationError(f"target {target!r}: {field}: {text}", violations=((field, text),))
