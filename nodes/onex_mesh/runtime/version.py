"""Version of onex-mesh as it is installed."""

from __future__ import annotations

from importlib.metadata import version

MESH_VERSION = version("onex-mesh")
