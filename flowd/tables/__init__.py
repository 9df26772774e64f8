"""Arrow's tables, seen as lines: the JSON of their rows, and what a filter set does with them.

Needs pyarrow (`pip install 'flowd[parquet]'`), which is loaded when a name of this package's modules is first used.
"""
