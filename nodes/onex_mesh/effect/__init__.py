"""The EFFECT node: owns every external dependency of the mesh (R7)."""
