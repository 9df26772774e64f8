"""The sinks of a running daemon: each in a thread of its own, with its feeds from the journal."""
