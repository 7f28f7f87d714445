"""A shop's order process: read an order file, price it, place it, and tell the database, the customer and others."""
