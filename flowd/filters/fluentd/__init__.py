"""fluentd's grep sections → plain data: its configuration's grammar, values and includes, and what a section says."""
