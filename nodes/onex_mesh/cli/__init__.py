"""The `onex-mesh` command."""
