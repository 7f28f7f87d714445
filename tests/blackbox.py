"""A node behind a port, for pytest-grpc: the plugin brings the channel and the stub, the node is the real one.

The plugin would run a servicer in a threaded server; ours live in an event loop, so it is handed the address of a node
that runs in a thread of its own.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from onex_lease import EmbeddedEtcd
from onex_mesh.runtime.node import Node
from onex_mesh.runtime.serving import NodeServer
from onex_mesh.runtime.settings import NodeSettings


@contextmanager
def served(node: Node, etcd: EmbeddedEtcd, namespace: str) -> Iterator[str]:
    """Serves a node in a thread; gives its address."""
    settings = NodeSettings(port=0, etcd=etcd.endpoint, namespace=namespace, ttl_s=5, log_level="error")
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="node")
    thread.start()

    async def start() -> NodeServer:
        server = NodeServer(node, settings)
        await server.start()
        return server

    server = asyncio.run_coroutine_threadsafe(start(), loop).result(30)
    try:
        yield server.info.address
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
