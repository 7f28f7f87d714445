"""The kinds of target that come with the node, a module each. None of the models holds a secret (R17)."""
