"""Fluent Bit's grep filters → plain data: its classic and YAML files, the operator's list, and what a filter says."""
