"""The consume lane: durable consumers read the journal, each from its own cursor, by credit, at its own speed."""
