"""Built-in aggregates beyond sum, average and count."""
