"""How many workflows per second the mesh carries, how long each takes, and where the processor time goes."""
