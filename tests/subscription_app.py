"""The App of the mesh in tests of subscriptions: one workflow, which brings its input."""

from __future__ import annotations

import yaml

from onex_mesh.app import App
from tests.subscriptions import WORKFLOW

app = App("subscriptions", version="1.0.0")
app.workflow(yaml.safe_load(WORKFLOW))
