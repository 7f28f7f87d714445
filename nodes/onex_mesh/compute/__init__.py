"""The COMPUTE node: pure data work."""
