"""Logs and the metrics page of one process."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

import structlog
from prometheus_client import start_http_server

if TYPE_CHECKING:
    from onex_mesh.runtime.metrics import Metrics
    from onex_mesh.runtime.settings import NodeSettings


def configure_logs(settings: NodeSettings, **fields: str) -> None:
    """Sends structured log lines to standard error: JSON, or coloured text for a console.

    Args:
        settings: Level and format.
        fields: What every line carries, such as the node's kind.
    """
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if settings.log_format == "json"
        # The default shows local variables with a traceback: bodies and credentials would stand in the log.
        else structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    )

    def add_fields(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        return {**fields, **event}

    # Not as context variables: threads of executors have none.
    shared: list[structlog.typing.Processor] = [
        add_fields,
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.format_exc_info, renderer]
        if settings.log_format == "json"
        else [*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    # What libraries log goes the same way.
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                renderer,
            ],
        )
    )
    logging.basicConfig(level=max(level, logging.INFO), handlers=[handler], force=True)
    for noisy in ("httpx", "httpcore", "asyncio", "aiosqlite"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


class MetricsPage:
    """The HTTP page that Prometheus reads."""

    def __init__(self, metrics: Metrics, host: str, port: int) -> None:
        """Serves the page.

        Raises:
            OSError: The port is taken.
        """
        server, thread = start_http_server(port, host, registry=metrics.registry)
        self._server = server
        self._thread = thread
        self.port = int(server.server_address[1])

    def close(self) -> None:
        """Stops serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)
