"""Where stored lines are read: plain files, gzip, zstd and Parquet, as batches of whole lines."""
