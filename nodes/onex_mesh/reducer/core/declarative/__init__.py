"""State machines in YAML, with CEL for what they compute: pure by construction, checked when they are loaded."""
