"""The App of reducer nodes under test that keep states, with gates around commits and copies (tests/proof/gates.py)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from onex.v1 import common_pb2
from onex_mesh.app import App
from onex_mesh.reducer.adapters.etcd_states import EtcdStates
from onex_mesh.reducer.ports import Answer, Change
from onex_mesh.runtime.payload_store import FsspecPayloads
from tests.order_machine import OrderMachine
from tests.proof.gates import VARIABLE, Gates

app = App("kept", version="1.0.0", description="States that nodes keep")
app.reducer(name="order")(OrderMachine)

POINTS = ("before-commit", "after-commit", "after-copy")


def _gate(gates: Gates) -> None:
    """Before and after the commit, and when the copy is made and not yet noted."""
    real_commit, real_put = EtcdStates.commit, FsspecPayloads.put

    async def commit(self: EtcdStates, changes: Sequence[Change], answer: Answer | None = None) -> None:
        await gates.pass_by("before-commit", changes[0].name.owner)
        await real_commit(self, changes, answer)
        await gates.pass_by("after-commit", changes[0].name.owner)

    async def put(self: FsspecPayloads, data: bytes, folder: str = "payloads") -> common_pb2.PayloadLocation:
        location = await real_put(self, data, folder)
        await gates.pass_by("after-copy", folder)
        return location

    EtcdStates.commit = commit  # type: ignore[method-assign]
    FsspecPayloads.put = put  # type: ignore[method-assign]


if VARIABLE in os.environ:
    _gate(Gates(Path(os.environ[VARIABLE])))
