"""What the robustness tests of effects share: a case for each type of effect, and ways to stop a node at a point."""
