"""The daemon: producers' batches in, filtered lines out to subscribers, and an admin lane beside."""
