"""The work of `flowd compare`: files or a daemon's journal through both filter sets, and what is said of it."""
