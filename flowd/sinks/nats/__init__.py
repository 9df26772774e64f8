"""Kept lines into NATS JetStream: each batch a message, stored once."""
