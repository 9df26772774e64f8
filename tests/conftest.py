"""What all tests share: hypothesis draws the same examples every time, unless it is told to explore.

`HYPOTHESIS_PROFILE=explore` draws new ones at every run, and more of them where a test does not say how many.
"""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("same", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("explore", deadline=None, max_examples=1_000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))
