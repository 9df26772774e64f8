"""The consumers of `flowd.Consumer("nats://…")`: the batches of many nodes, from a JetStream stream. Loaded for such
endpoints only."""
