"""onex-mesh: a durable workflow mesh of EFFECT, COMPUTE, REDUCER and ORCHESTRATOR nodes."""
