"""What the log shows, and what it must not."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import structlog
from onex_mesh.runtime.settings import NodeSettings
from onex_mesh.runtime.telemetry import configure_logs

configure_logs(NodeSettings(log_format="{log_format}"), node="effect")

def send(body):
    raise ValueError("not sent")

try:
    send("hun" + "ter2")
except ValueError as error:
    structlog.get_logger().error("an effect failed", exc_info=error)
"""


def test_a_traceback_shows_no_local_variables() -> None:
    """R11, R20: they may be bodies and credentials; the traceback itself is there, in both formats."""
    for log_format in ("json", "console"):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM.format(log_format=log_format)], capture_output=True, text=True, check=True
        )
        assert "ValueError: not sent" in done.stderr
        assert "hunter2" not in done.stderr + done.stdout
