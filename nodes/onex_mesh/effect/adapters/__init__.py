"""The ways out of the mesh: one module or folder for each kind of target."""
