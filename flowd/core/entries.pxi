# Lines → entries of the Forward protocol: [time, record] in msgpack. The other direction of records.pxi; no Python
# object is made for a line.

# Lines of one call: what an entry's texts can have is 2^32 bytes, and a line may become three times as large.
cdef uint64_t MOST_PACKED_LINES_BYTES = 1 << 30

# Entries' room that is kept from one call to the next.
cdef size_t KEPT_ENTRIES_BYTES = 16 << 20


cdef class EntryPacker:
    """`EntryPacker(time_key, columns24, columns27)`: packs lines, one call at a time.

    `time_key` is empty where entries have their lines' time. The columns are what records of a text form have, in
    order: (name, column's index, index of the endpoint's type or -1, mapping), numbers as in flowd.filters.columns.
    """
    cdef EntryWriter writer
    cdef Bytes entries
    cdef bint is_busy

    def __cinit__(self, bytes time_key, columns24, columns27):
        self.add_columns(FORM_TEXT24, TEXT24_SEPARATORS, columns24)
        self.add_columns(FORM_TEXT27, TEXT27_SEPARATORS, columns27)
        if time_key and not self.writer.set_time_key(<const uint8_t*> <const char*> time_key, len(time_key)):
            raise MemoryError()

    cdef int add_columns(self, uint32_t form, int most, columns) except -1:
        cdef WantedColumn column
        cdef bytes name
        for name, index, kind, mapping in columns:
            if not 0 <= index <= most or not -1 <= kind < most:
                raise ValueError(f"{name.decode()}: there is no column {index if kind < most else kind}")
            column.column = index
            column.kind_column = kind if kind >= 0 else NO_COLUMN
            column.field = 0
            if not self.writer.add_column(form, <const uint8_t*> <const char*> name, len(name), column, mapping):
                raise ValueError(f"{name.decode()}: too long a name, or one too many")
        return 0

    def pack(self, lines, int64_t time_ns):
        """(entries, their number, how many are messages): an entry for each line; those that are no records are
        messages. `time_ns` is the time of entries for which no other is found."""
        cdef Py_buffer view
        cdef PackedLines packed
        cdef bint is_done
        if self.is_busy:
            raise RuntimeError("this packer is in use by another thread")
        PyObject_GetBuffer(lines, &view, PyBUF_SIMPLE)
        self.is_busy = True
        try:
            if <uint64_t> view.len >= MOST_PACKED_LINES_BYTES:
                raise ValueError(f"{view.len} bytes of lines are too many for one call: it takes below 2**30")
            memset(&packed, 0, sizeof(PackedLines))
            self.entries.clear()
            with nogil:
                is_done = self.writer.write(<const uint8_t*> view.buf, view.len, time_ns, self.entries, &packed)
            self.writer.give_back()
            if not is_done:
                raise MemoryError()
            entries = PyBytes_FromStringAndSize(<const char*> self.entries.data(), self.entries.size())
            return entries, packed.entries, packed.messages
        finally:
            self.entries.clear()
            self.entries.give_back(KEPT_ENTRIES_BYTES)
            self.is_busy = False
            PyBuffer_Release(&view)
