"""TLS of connections to servers."""

from __future__ import annotations

import ssl

from onex_mesh.effect.core.kinds.tls import Tls
from onex_mesh.runtime.errors import ValidationError


def client_context(target: str, tls: Tls) -> ssl.SSLContext:
    """A context that verifies the server's certificate and its name.

    Raises:
        ValidationError: A file cannot be read or holds something else.
    """
    try:
        context = ssl.create_default_context(cafile=None if tls.ca_file is None else str(tls.ca_file))
        if tls.certificate_file is not None:
            context.load_cert_chain(tls.certificate_file, tls.key_file)
    except OSError as error:  # ssl.SSLError is one, too
        reason = error.strerror or type(error).__name__
        raise ValidationError(f"target {target!r}: tls: the files cannot be used: {reason}") from error
    return context
