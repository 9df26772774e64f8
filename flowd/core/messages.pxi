# Messages of the Fluent Forward protocol: where the parts of one lie, found as its bytes come.

class MalformedMessage(ValueError):
    """What cannot be a message: `args` are why (`invalid`, `too_large`) and at which byte of the message."""


MESSAGE_KINDS = ("other", "message", "forward", "packed", "compressed")


cdef class MessageWalker:
    """Finds the parts of one message after the other: `MessageWalker(most_bytes)`, a message's bound.

    Within a message it goes on where it stopped, so bytes are walked once however many pieces they come in.
    """
    cdef MessageWalk state
    cdef readonly uint64_t most_bytes

    def __cinit__(self, uint64_t most_bytes):
        if not 0 < most_bytes < 1 << 62:
            raise ValueError(f"most_bytes is {most_bytes}; it must be at least 1 and below 2**62")
        self.most_bytes = most_bytes

    def walk(self, buffer, size_t start=0):
        """Walks the message that begins at `start` of the buffer, where it lies with all that has come of it.

        Returns how many bytes more are needed at least, or where the message is whole: (kind, end, (tag start, end),
        (entries start, end), (option start, end), entries' number), with all places in the buffer. The next call then
        begins a new message. Between calls for one message its bytes may move, but not change. The number is what the
        message says, 0 where it does not: packed entries are not counted. Raises MalformedMessage, and begins anew.
        """
        cdef Py_buffer view
        cdef uint64_t missing = 0
        cdef Walked walked
        cdef MessageWalk found
        PyObject_GetBuffer(buffer, &view, PyBUF_SIMPLE)
        try:
            if start > <size_t> view.len:
                raise ValueError(f"start is {start}, behind the buffer's {view.len} bytes")
            with nogil:
                walked = walk_message(self.state, <const uint8_t*> view.buf + start, view.len - start,
                                      self.most_bytes, &missing)
        finally:
            PyBuffer_Release(&view)
        if walked == Walked.truncated:
            return missing
        found = self.state
        self.reset()
        if walked != Walked.done:
            raise MalformedMessage("invalid" if walked == Walked.invalid else "too_large", found.at)
        return (MESSAGE_KINDS[<Py_ssize_t> found.kind], start + found.at,
                (start + found.tag_begin, start + found.tag_end),
                (start + found.entries_begin, start + found.entries_end),
                (start + found.option_begin, start + found.option_end), found.count)

    def reset(self):
        """Forgets the message under way."""
        memset(&self.state, 0, sizeof(MessageWalk))
