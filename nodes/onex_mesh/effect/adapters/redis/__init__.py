"""Redis as a target: streams that take messages, and caches."""
