# Per call in plain Python: find 0.10 us of CPU, is_plain 0.17 us, seconds 0.31 us. Inlined in C, two calls of find and
# the decoding of a text take 0.06 us.
from cpython cimport array
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport uint64_t
from libc.string cimport memchr, memcmp, memcpy, memset

cdef inline tuple usual_header(bytes datagram):
    return None

cdef inline Py_ssize_t find(bytes octets, int octet, Py_ssize_t start):
    cdef const char *first = octets
    cdef const char *match = <const char *>memchr(first + start, octet, len(octets) - start)
    return -1 if match == NULL else match - first

# For each datagram, give a literal: each use of a module's variable changes its count of references, and without the
# GIL two lanes that change the same count wait for each other.
cdef inline bint begins_with(bytes octets, bytes prefix, Py_ssize_t start) noexcept:
    cdef const char *first = octets
    cdef const char *wanted = prefix
    cdef Py_ssize_t size = len(prefix)
    return len(octets) - start >= size and memcmp(first + start, wanted, size) == 0

cdef extern from "Python.h":
    bint PyUnicode_IS_ASCII(object text) noexcept

cdef inline bint is_ascii(str text) noexcept:
    return PyUnicode_IS_ASCII(text)

cdef inline Py_ssize_t sum_of(bytes octets, Py_ssize_t start, Py_ssize_t end) noexcept:
    return sum_at(<const char *>octets + start, end - start)

cdef inline Py_ssize_t sum_at(const char *at, Py_ssize_t size) noexcept:
    cdef const char *stop = at + size
    cdef uint64_t total = <uint64_t>size, word
    while stop - at >= 8:
        memcpy(&word, at, 8)
        total = ((total << 5 | total >> 59) ^ word) * <uint64_t>0x9E3779B97F4A7C15ULL
        at += 8
    word = 0
    memcpy(&word, at, stop - at)
    total = ((total << 5 | total >> 59) ^ word) * <uint64_t>0x9E3779B97F4A7C15ULL
    return <Py_ssize_t>(total >> 48)

cdef inline bint is_at(bytes part, bytes octets, Py_ssize_t start, Py_ssize_t end) noexcept:
    return len(part) == end - start and memcmp(<const char *>part, <const char *>octets + start, end - start) == 0

cdef inline Py_ssize_t plain_line(bytes octets):
    cdef const unsigned char *at = octets
    cdef Py_ssize_t end = find(octets, 0x0A, 0), index = 0
    cdef int step
    cdef unsigned char other = 0
    # Blocks of a fixed size: gcc -O2 takes 16 bytes at a time.
    while end - index >= 16:
        for step in range(16):
            other |= (<unsigned char>(at[index + step] - 0x20) >= 0x5F) | (at[index + step] == 0x5C)
        index += 16
    while index < end:
        other |= (<unsigned char>(at[index] - 0x20) >= 0x5F) | (at[index] == 0x5C)
        index += 1
    return 0 if other else end + 1

cdef inline bint is_plain(bytes octets) noexcept:
    cdef const unsigned char *at = octets
    cdef const unsigned char *end = at + len(octets)
    while at < end:
        if <unsigned char>(at[0] - 0x21) >= 0x5E or at[0] == 0x5C:
            return False
        at += 1
    return True

cdef inline Py_ssize_t stray_at(bytes octets, Py_ssize_t start) noexcept:
    cdef const char *first = octets
    cdef const char *end = first + len(octets)
    cdef const char *at = first + start
    cdef const char *equals
    while at < end:
        # A key is short, so that a loop costs less than a call of memchr.
        equals = at
        while equals < end and equals[0] != 0x3D and equals[0] != 0x0A:
            equals += 1
        if at[0] != 0x20 or equals == end or equals[0] == 0x0A:
            return at - first
        if at[1] != 0x53 and at[1] != 0x44:
            break
        at = <const char *>memchr(equals, 0x0A, end - equals)
        if at == NULL:
            break
        at += 1
    return -1

cdef inline bint is_record(bytes octets) noexcept:
    cdef const char *first = octets
    cdef const char *end = first + len(octets)
    cdef const char *at
    if first == end or first[len(octets) - 1] != 0x0A:
        return False
    at = <const char *>memchr(first, 0x0A, end - first) + 1
    if at == end:
        return True
    if stray_at(octets, at - first) >= 0:
        return False
    while at != end:
        if at[0] != 0x20:
            return False
        at = <const char *>memchr(at, 0x0A, end - at) + 1
    return True

cdef inline Py_ssize_t utf8_length(const unsigned char *at, Py_ssize_t left) noexcept:
    # The length of the character at a position, or 0 (Unicode, table 3-7).
    cdef unsigned char first = at[0], low = 0x80, high = 0xBF
    cdef Py_ssize_t size, index
    if first < 0x80:
        return 1
    if 0xC2 <= first <= 0xDF:
        size = 2
    elif 0xE0 <= first <= 0xEF:
        size = 3
        if first == 0xE0:
            low = 0xA0
        elif first == 0xED:
            high = 0x9F
    elif 0xF0 <= first <= 0xF4:
        size = 4
        if first == 0xF0:
            low = 0x90
        elif first == 0xF4:
            high = 0x8F
    else:
        return 0
    if left < size or not low <= at[1] <= high:
        return 0
    for index in range(2, size):
        if at[index] & 0xC0 != 0x80:
            return 0
    return size

cdef inline void put_escape(char *at, unsigned char octet) noexcept:
    cdef const char *digits = b"0123456789abcdef"
    at[0] = 0x5C
    at[1] = 0x78
    at[2] = digits[octet >> 4]
    at[3] = digits[octet & 15]

cdef inline str visible(bytes octets):
    cdef const unsigned char *data = octets
    cdef Py_ssize_t at = 0, end = len(octets), used = 0, size, index
    cdef char *out = <char *>PyMem_Malloc(4 * end + 1)
    if out == NULL:
        raise MemoryError
    while at < end:
        size = utf8_length(data + at, end - at)
        if size:
            for index in range(size):
                out[used + index] = data[at + index]
            used += size
            at += size
        else:
            put_escape(out + used, data[at])
            used += 4
            at += 1
    try:
        return PyUnicode_DecodeUTF8(out, used, NULL)
    finally:
        PyMem_Free(out)

cdef inline int hexadecimal(unsigned char octet) noexcept:
    # The value of a digit, or -1.
    if 0x30 <= octet <= 0x39:
        return octet - 0x30
    octet |= 0x20
    return octet - 0x57 if 0x61 <= octet <= 0x66 else -1

cdef inline bytes unescape(bytes octets):
    cdef const unsigned char *data = octets
    cdef Py_ssize_t at = 0, end = len(octets), used = 0
    cdef int high, low
    cdef char *out = <char *>PyMem_Malloc(end + 1)
    if out == NULL:
        raise MemoryError
    while at < end:
        if data[at] == 0x5C and end - at >= 4 and data[at + 1] == 0x78:
            high = hexadecimal(data[at + 2])
            low = hexadecimal(data[at + 3])
            if high >= 0 and low >= 0:
                out[used] = high << 4 | low
                used += 1
                at += 4
                continue
        out[used] = data[at]
        used += 1
        at += 1
    try:
        return out[:used]
    finally:
        PyMem_Free(out)

cdef inline bytes escape(bytes octets):
    cdef const unsigned char *data = octets
    cdef Py_ssize_t at = 0, end = len(octets), used = 0
    cdef char *out = <char *>PyMem_Malloc(4 * end + 1)
    if out == NULL:
        raise MemoryError
    while at < end:
        if <unsigned char>(data[at] - 0x20) < 0x5F and data[at] != 0x5C:
            out[used] = data[at]
            used += 1
        else:
            put_escape(out + used, data[at])
            used += 4
        at += 1
    try:
        return out[:used]
    finally:
        PyMem_Free(out)

# At most 14 digits, the point and 6 digits.
DEF SECONDS = 24

cdef inline int put_seconds(char *text, unsigned long long usec) noexcept:
    # Written from the end of the SECONDS bytes; returns the index of the first one.
    cdef int at = SECONDS, point = at - 7
    while at > point + 1:
        at -= 1
        text[at] = 0x30 + usec % 10
        usec //= 10
    at -= 1
    text[at] = 0x2E
    while usec or at == point:
        at -= 1
        text[at] = 0x30 + usec % 10
        usec //= 10
    while at > point - 5:
        at -= 1
        text[at] = 0x20
    return at

cdef inline bytes seconds(unsigned long long usec):
    cdef char text[SECONDS]
    cdef int at = put_seconds(text, usec)
    return text[at:SECONDS]

cdef inline char *put(char *at, const char *octets, Py_ssize_t size) noexcept:
    memcpy(at, octets, size)
    return at + size

cdef inline bytes log_line(
    bytes when, unsigned long long usec, bytes level, bytes caller, bytes text, Py_ssize_t end
):
    # One object for a line: objects for its parts cost twice as much.
    cdef char since_boot[SECONDS]
    cdef int first = put_seconds(since_boot, usec)
    cdef Py_ssize_t size = len(when) + SECONDS - first + len(level) + end
    if caller is not None:
        size += len(caller) + 3
    cdef bytes line = PyBytes_FromStringAndSize(NULL, size)
    cdef char *at = line
    at = put(at, when, len(when))
    at = put(at, since_boot + first, SECONDS - first)
    at = put(at, level, len(level))
    if caller is not None:
        at[0] = 0x5B
        at = put(at + 1, caller, len(caller))
        at[0] = 0x5D
        at[1] = 0x20
        at += 2
    put(at, text, end)
    return line

cdef inline unsigned long long stamp_at(array.array stamps, unsigned long long index) noexcept:
    return stamps.data.as_ulonglongs[index]

cdef inline void put_stamp(array.array stamps, unsigned long long index, unsigned long long stamp) noexcept:
    stamps.data.as_ulonglongs[index] = stamp

cdef inline unsigned long long *new_stamps(Py_ssize_t count) except NULL:
    cdef unsigned long long *stamps = <unsigned long long *>PyMem_Malloc(count * sizeof(unsigned long long))
    if stamps == NULL:
        raise MemoryError
    memset(stamps, 0xFF, count * sizeof(unsigned long long))
    return stamps

cdef inline unsigned long long *no_stamps() noexcept:
    return NULL

cdef inline void free_stamps(unsigned long long *stamps) noexcept:
    PyMem_Free(stamps)

# Without the GIL, an index on a list that another thread made takes its lock, and an object that is in it a mark: 40 % of
# a lane's time.
cdef inline bytes item_at(list items, Py_ssize_t index):
    if not 0 <= index < PyList_GET_SIZE(items):
        raise IndexError("list index out of range")
    return <bytes?>PyList_GET_ITEM(items, index)

cdef extern from *:
    """
    static inline PyObject *netconsd_own(PyObject *octets) {
    #ifdef Py_GIL_DISABLED
        return PyBytes_FromStringAndSize(PyBytes_AS_STRING(octets), PyBytes_GET_SIZE(octets));
    #else
        return Py_NewRef(octets);
    #endif
    }
    """
    object netconsd_own(object octets)

# A search in a dict changes the references of the key that it finds. Without the GIL, this is an atomic operation if
# another thread has made the key, and two lanes wait for each other if their keys are neighbours in memory.
cdef inline bytes own(bytes octets):
    return netconsd_own(octets)
