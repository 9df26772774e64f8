"""What decides lines: filters read, compiled, tried and changed while the daemon runs, and the streams they decide."""
