"""The work of `flowd filter`: arguments, inputs, kept lines out."""
