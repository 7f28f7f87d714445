"""NATS JetStream as a target of messages."""
