"""A whole mesh on this machine: an embedded etcd and the nodes as processes of their own."""
