"""Tests of the contract and of the repository that keeps it."""
