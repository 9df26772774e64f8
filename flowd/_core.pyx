# distutils: language = c++
"""The native core: lines in, verdicts out, without the GIL. This file is its table of contents, bottom up."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memchr, memcmp, memcpy, memset

from flowd.core.oniguruma cimport *
from flowd.core.vectorscan cimport *

include "core/limits.pxi"     # what may be used, and why so much
include "core/regex.pxi"      # the two engines: Oniguruma and Vectorscan
