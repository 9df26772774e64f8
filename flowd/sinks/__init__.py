"""What carries kept lines off the node: each a durable consumer of the journal, fed batch by batch."""
