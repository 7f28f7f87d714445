"""Examples of what people build with onex-mesh."""
