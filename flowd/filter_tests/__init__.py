"""Filter tests: lines with what filters are to make of them, written in TOML; read, run, and told as JUnit XML."""
