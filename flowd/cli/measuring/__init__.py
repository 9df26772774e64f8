"""What `flowd bench` measures: the core, the live relay, the durable lanes, delays."""
