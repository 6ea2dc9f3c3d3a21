cimport cython

cdef class Source:
    cdef bytes _key
    cdef object _address

@cython.locals(source=Source)
cpdef Source source_of(bytes key)

cdef class Message:
    cdef Source _source
    cdef double _received_at
    cdef bytes _raw
    cdef object _text
    cpdef tuple _state(self)

cdef class LegacyMessage(Message):
    cdef object _fields
    cpdef tuple _parsed(self)

cdef class LegacyDatagram(Message):
    pass

cdef class ExtendedMessage(Message):
    cdef object _body
    cdef bytes _caller
    cdef bytes _release
    cdef unsigned long long _seq
    cdef unsigned long long _ts_usec
    cdef unsigned long long _missing
    cdef long long _lost
    cdef long long _msgid
    cdef int _prefix
    cdef bint _continuation
    cdef bint _emergency
    cdef bint _incomplete
    cdef bint _out_of_order
    cdef bint _replayed
    cdef bint _seq_reset

    cdef _fill(
        self,
        Source source,
        double received_at,
        bytes raw,
        int prefix,
        unsigned long long seq,
        unsigned long long ts_usec,
        bint continuation,
        bytes caller,
        bytes release,
        long long msgid,
        bint replayed,
        bint emergency,
        bint incomplete,
        bint seq_reset,
        bint out_of_order,
        unsigned long long missing,
        long long lost,
    )
    cdef _parsed(self)
    @cython.locals(message=ExtendedMessage)
    cpdef ExtendedMessage with_body(self, bytes body, bint incomplete)
