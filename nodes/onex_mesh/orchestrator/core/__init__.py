"""The orchestrator's machine: plans, decisions and state changes as pure functions. Knows neither gRPC nor etcd."""
