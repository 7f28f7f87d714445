"""What the registry says of a node whose targets changed."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from onex_lease import update_node
from onex_mesh.runtime.errors import OnexError
from onex_mesh.runtime.mesh import Mesh

log = structlog.get_logger(__name__)


async def announce(mesh: Mesh, before: Sequence[str], now: Sequence[str]) -> None:
    """Replaces some capabilities of a registered node by others. One that is not announced yet is left to its server.

    A session that is lost meanwhile does no harm: the next one announces the node as it is by then.
    """
    announced = mesh.node.capabilities
    if not set(before) <= set(announced):
        return
    kept = [row for row in announced if row not in set(before)]
    del announced[:]
    announced.extend([*kept, *now])
    try:
        sent: list[str] = []
        # What somebody else changes while this is on its way, such as the end of the node, is not overwritten.
        while sent != list(announced):
            sent = list(announced)
            await update_node(mesh.client, mesh.keys, mesh.session, mesh.node)
    except OnexError as error:
        log.warning("the change of the targets could not be announced", reason=error.reason, why=error.message)
