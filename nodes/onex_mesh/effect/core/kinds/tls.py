"""How a connection to a server is encrypted, as an operator declares it."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import model_validator

from onex_mesh.effect.core.targets import FrozenModel


class Tls(FrozenModel):
    """TLS with a certificate that is verified, for the name by which the server is called."""

    ca_file: Path | None = None
    """Certificates of the authorities that are trusted. Default: those of the system."""
    certificate_file: Path | None = None
    """The node's own certificate, for servers that ask for one."""
    key_file: Path | None = None
    """Its key."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file need each other")
        return self

    def resolved(self, folder: Path) -> Self:
        """The files, taken from the folder."""
        given = {name: getattr(self, name) for name in ("ca_file", "certificate_file", "key_file")}
        return self.model_copy(update={name: folder / path for name, path in given.items() if path is not None})
