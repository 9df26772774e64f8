"""Text → rules: one reader for each dialect, all making the plain data of `model`."""
