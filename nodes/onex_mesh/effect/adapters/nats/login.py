"""How a target logs in to NATS."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from onex_mesh.effect.core.credentials import read_secret
from onex_mesh.effect.core.kinds.nats import NatsServers
from onex_mesh.runtime.errors import ValidationError


@dataclass(frozen=True, slots=True)
class Login:
    """What the library is given; None for the ways that are not used. Shows none of it."""

    user: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    nkey_seed: str | None = field(default=None, repr=False)
    creds: Path | None = None


def read_login(target: str, servers: NatsServers, environment: Mapping[str, str]) -> Login:
    """The credentials that a target names.

    Raises:
        ValidationError: One is missing or is not what it should be.
        ModuleNotFoundError: The package that signs with nkeys is missing.
    """
    password = read_secret(target, servers.password_env, servers.password_file, environment)
    token = read_secret(target, servers.token_env, servers.token_file, environment)
    seed = read_secret(target, servers.nkey_seed_env, servers.nkey_seed_file, environment)
    if seed is not None:
        _require_seed(target, seed.value)
    if servers.creds_file is not None:
        content = read_secret(target, None, servers.creds_file, environment)
        assert content is not None
        _require_creds(target, content.value)
    return Login(
        user=servers.username,
        password=None if password is None else password.value,
        token=None if token is None else token.value,
        nkey_seed=None if seed is None else seed.value,
        creds=servers.creds_file,
    )


def _require_seed(target: str, seed: str) -> None:
    nkeys = importlib.import_module("nkeys")
    try:
        pair = nkeys.from_seed(bytearray(seed.strip().encode()))
        pair.wipe()
    except (nkeys.NkeysError, ValueError) as error:
        raise ValidationError(f"target {target!r}: the nkey seed is none: {type(error).__name__}") from None


def _require_creds(target: str, content: str) -> None:
    lines = content.splitlines()
    marks = {name: next((n for n, line in enumerate(lines) if name in line), None) for name in _MARKS}
    for name, at in marks.items():
        if at is None or at + 1 >= len(lines):
            raise ValidationError(f"target {target!r}: creds_file: has no part {name!r}")
    seed_at = marks[_MARKS[1]]
    assert seed_at is not None
    _require_seed(target, lines[seed_at + 1])


_MARKS = ("BEGIN NATS USER JWT", "BEGIN USER NKEY SEED")
