"""What people write their reducers, algorithms, effects and workflows with."""

from __future__ import annotations

from onex_mesh.app.application import App
from onex_mesh.app.loading import load_app

__all__ = ["App", "load_app"]
