"""Tests of onex-mesh: unit (no server), contract (protos and repository), integration (real servers), robustness (crashes)."""
