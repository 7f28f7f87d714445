"""How the orchestrator reaches other nodes."""
