"""Tests of onex-mesh: unit, contract (protos, repository), integration (real servers) and robustness (crashes)."""
