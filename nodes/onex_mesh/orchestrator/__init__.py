"""The ORCHESTRATOR node: coordinates the other three, as the only writer of each workflow."""
