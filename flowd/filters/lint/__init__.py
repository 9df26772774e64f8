"""What filters say and their writers probably did not mean: every check has a code and a documented page.

Imports nothing: `fields` is asked whenever filters are read, which must not load what `flowd check` alone needs
(`texts`).
"""
