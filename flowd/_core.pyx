# distutils: language = c++
# cython: boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""The native core: lines in, verdicts out, without the GIL. This file is its table of contents, bottom up.

What is imported here is used by the parts that are included.
"""

import threading  # no-cython-lint

cimport cython  # no-cython-lint

from cpython.buffer cimport Py_buffer, PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer  # no-cython-lint
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, _PyBytes_Resize  # no-cython-lint
from cpython.exc cimport PyErr_CheckSignals  # no-cython-lint
from cpython.ref cimport PyObject, Py_CLEAR, Py_XDECREF  # no-cython-lint
from libc.errno cimport EAGAIN, EINTR, errno  # no-cython-lint
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t  # no-cython-lint
from libc.stdlib cimport calloc, free, malloc, realloc  # no-cython-lint
from libc.string cimport memchr, memcmp, memcpy, memmove, memset  # no-cython-lint

cdef extern from "Python.h" nogil:
    # Of a bytes object that nobody else knows yet.
    PyObject* PyBytes_FromStringAndSize_ "PyBytes_FromStringAndSize"(const char* p, Py_ssize_t n)
    char* PyBytes_AS_STRING_ "PyBytes_AS_STRING"(PyObject* made)
    Py_ssize_t Py_SIZE(PyObject* made)

cdef extern from "string.h" nogil:
    void* memmem(const void* text, size_t n, const void* literal, size_t literal_n)

cdef extern from "time.h" nogil:
    struct timespec:
        int64_t tv_sec
        int64_t tv_nsec
    int CLOCK_REALTIME
    int clock_gettime(int clock, timespec* now)

cdef extern from "sys/uio.h" nogil:
    struct iovec:
        void* iov_base
        size_t iov_len
    ssize_t writev(int fd, const iovec* pieces, int n)

cdef extern from "unistd.h" nogil:
    ssize_t write(int fd, const void* p, size_t n)

cdef extern from "poll.h" nogil:
    struct pollfd:
        int fd
        short events
    short POLLOUT
    int poll(pollfd* watched, size_t n, int timeout_ms)

from flowd.core.native cimport *
from flowd.core.oniguruma cimport *
from flowd.core.linear_engine cimport *

include "core/limits.pxi"     # what may be used, and why so much
include "core/regex.pxi"      # the two engines: Oniguruma and libhs
include "core/parts.pxi"      # what a program is made of
include "core/memory.pxi"     # what a program owns
include "core/conditions.pxi"  # tests of values, and expressions of them
include "core/program.pxi"    # a compiled filter set as plain C arrays
include "core/turns.pxi"      # the decisions of rules that only count, or let a share of lines go
include "core/context.pxi"    # what one thread needs to run it
include "core/match.pxi"      # what the predicates say of a text, and of a value
include "core/classify.pxi"   # a field's bytes → value class: the miss path
include "core/decide.pxi"     # classes → decision: the filters' steps
include "core/gentle.pxi"     # what becomes of a line under such rules
include "core/batch.pxi"      # lines in, runs of kept lines out
include "core/messages.pxi"   # Forward messages: where their parts lie
include "core/evaluator.pxi"  # batches in, kept lines and verdicts out
include "core/records.pxi"    # records in msgpack → JSON lines, and the kept ones of them
include "core/entries.pxi"    # lines → records in msgpack, as entries of the Forward protocol
include "core/file_run.pxi"   # a file in, kept lines to a descriptor, by any number of threads
include "core/compare.pxi"    # two filter sets over the same lines
include "core/outcomes.pxi"   # what many filter sets say together
include "core/pieces.pxi"     # the lines that several of them keep
include "core/fanout.pxi"     # many filter sets over the same lines
