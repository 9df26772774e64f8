"""flowd's own dialect, in fluentd's grammar → plain data: what a section of `@type flowd` says."""
