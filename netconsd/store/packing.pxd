# Inlined in C: no Python number per field. A record takes 0.03 us of CPU, in plain Python 1.2 us.
from cpython cimport array
from cpython.bytearray cimport PyByteArray_AS_STRING
from cpython.list cimport PyList_GET_ITEM
from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t
from libc.math cimport llrint
from libc.string cimport memchr, memcmp, memcpy, memset

from netconsd.protocol.octets cimport sum_at

cdef extern from *:
    """
    #define NETCONSD_LATEST_SECONDS 253402300799.0
    """
    const double LATEST_SECONDS "NETCONSD_LATEST_SECONDS"

cdef enum:
    HEAD_BYTES = 64
    RARE_BYTES = 32
    KEY_AT = 16
    KEY_BYTES = 18

cdef inline Py_ssize_t put_head(
    bytearray data, Py_ssize_t at, uint32_t size, uint16_t flags, uint16_t prefix, double received_at, bytes key,
    uint16_t caller, uint16_t release, uint64_t seq, uint64_t ts_usec, int64_t msgid
) noexcept:
    cdef char *to = PyByteArray_AS_STRING(data) + at
    memcpy(to, &size, 4)
    memcpy(to + 4, &flags, 2)
    memcpy(to + 6, &prefix, 2)
    memcpy(to + 8, &received_at, 8)
    memcpy(to + 16, <const char *>key, 18)
    memcpy(to + 34, &caller, 2)
    memcpy(to + 36, &release, 2)
    memset(to + 38, 0, 2)
    memcpy(to + 40, &seq, 8)
    memcpy(to + 48, &ts_usec, 8)
    memcpy(to + 56, &msgid, 8)
    return at + 64

cdef inline Py_ssize_t put_rare(
    bytearray data, Py_ssize_t at, uint64_t missing, int64_t lost, uint64_t likely_lost, int64_t limited
) noexcept:
    cdef char *to = PyByteArray_AS_STRING(data) + at
    memcpy(to, &missing, 8)
    memcpy(to + 8, &lost, 8)
    memcpy(to + 16, &likely_lost, 8)
    memcpy(to + 24, &limited, 8)
    return at + 32

cdef inline Py_ssize_t put_bytes(bytearray data, Py_ssize_t at, bytes octets) noexcept:
    cdef Py_ssize_t size = len(octets)
    memcpy(PyByteArray_AS_STRING(data) + at, <const char *>octets, size)
    return at + size

cdef inline unsigned int u16_at(bytes data, Py_ssize_t at) noexcept:
    cdef uint16_t value
    memcpy(&value, <const char *>data + at, 2)
    return value

cdef inline uint32_t u32_at(bytes data, Py_ssize_t at) noexcept:
    cdef uint32_t value
    memcpy(&value, <const char *>data + at, 4)
    return value

cdef inline uint64_t u64_at(bytes data, Py_ssize_t at) noexcept:
    cdef uint64_t value
    memcpy(&value, <const char *>data + at, 8)
    return value

cdef inline int64_t i64_at(bytes data, Py_ssize_t at) noexcept:
    cdef int64_t value
    memcpy(&value, <const char *>data + at, 8)
    return value

cdef inline (uint32_t, int, int, double, unsigned int, unsigned int, uint64_t, uint64_t, int64_t) head_at(
    bytes data, Py_ssize_t at
) noexcept:
    cdef double received_at
    memcpy(&received_at, <const char *>data + at + 8, 8)
    return (
        u32_at(data, at), u16_at(data, at + 4), u16_at(data, at + 6), received_at, u16_at(data, at + 34),
        u16_at(data, at + 36), u64_at(data, at + 40), u64_at(data, at + 48), i64_at(data, at + 56)
    )

cdef inline int64_t micros_at(bytes data, Py_ssize_t at) noexcept:
    cdef double value
    memcpy(&value, <const char *>data + at, 8)
    # Also false for NaN.
    if not value >= 0:
        return 0
    if value > 253402300799.0:
        value = 253402300799.0
    return llrint(value * 1000000)

cdef inline Py_ssize_t plain_text(bytes data, Py_ssize_t at, Py_ssize_t end) noexcept:
    cdef const unsigned char *first = <const unsigned char *><const char *>data + at
    cdef const unsigned char *newline = <const unsigned char *>memchr(first, 0x0A, end - at)
    cdef Py_ssize_t length, index = 0
    cdef int step
    cdef unsigned char other = 0
    if newline == NULL:
        return 0
    length = newline - first
    # Blocks of a fixed size: gcc -O2 takes 16 bytes at a time.
    while length - index >= 16:
        for step in range(16):
            other |= (<unsigned char>(first[index + step] - 0x20) >= 0x5F) | (first[index + step] == 0x5C)
        index += 16
    while index < length:
        other |= (<unsigned char>(first[index] - 0x20) >= 0x5F) | (first[index] == 0x5C)
        index += 1
    return 0 if other else length

cdef inline (Py_ssize_t, uint64_t) timed_text(bytes data, Py_ssize_t at, Py_ssize_t end) noexcept:
    cdef const unsigned char *octets = <const unsigned char *><const char *>data
    cdef Py_ssize_t place = at + 1, first
    cdef uint64_t seconds = 0, micros = 0
    cdef int digit
    # The shortest: [    1.234567] and a space and a character.
    if end - at < 16 or octets[at] != 0x5B:
        return 0, 0
    while place < at + 5 and octets[place] == 0x20:
        place += 1
    first = place
    # As many digits as message.py takes; the shortest line has bytes for eight, and the loop ends before the end.
    while place < end and place < first + 13 and 0x30 <= octets[place] <= 0x39:
        seconds = 10 * seconds + octets[place] - 0x30
        place += 1
    # As "%5d": with spaces before it up to five columns, and no zeros before it.
    if place == first or place < at + 6 or (first > at + 1 and place > at + 6):
        return 0, 0
    if octets[first] == 0x30 and place > first + 1:
        return 0, 0
    if end - place < 10 or octets[place] != 0x2E or octets[place + 7] != 0x5D or octets[place + 8] != 0x20:
        return 0, 0
    for digit in range(1, 7):
        if not 0x30 <= octets[place + digit] <= 0x39:
            return 0, 0
        micros = 10 * micros + octets[place + digit] - 0x30
    return place + 9, seconds * 1000000 + micros

cdef inline Py_ssize_t tail_end(bytes data, Py_ssize_t at, Py_ssize_t end, int64_t msgid) noexcept:
    cdef const char *octets = data
    cdef Py_ssize_t start = end - 1
    if msgid < 0 or end - at < 9 or octets[start] != 0x0A:
        return end
    # The digits from the last to the first, without zeros before them.
    while True:
        start -= 1
        if start - 7 < at or octets[start] != 0x30 + msgid % 10:
            return end
        msgid //= 10
        if not msgid:
            break
    if memcmp(octets + start - 7, b" msgid=", 7) != 0:
        return end
    return start - 7 if octets[start - 8] == 0x0A else end

cdef inline Py_ssize_t slot_of(bytes data, Py_ssize_t at, Py_ssize_t size) noexcept:
    # The length, the first and the last bytes: most values differ there.
    cdef const char *octets = <const char *>data + at
    cdef uint64_t first = 0, last = 0
    if size >= 8:
        memcpy(&first, octets, 8)
        memcpy(&last, octets + size - 8, 8)
    else:
        memcpy(&first, octets, size)
    first ^= <uint64_t>size
    first = (first ^ (last << 23) ^ (last >> 41)) * <uint64_t>0x9E3779B97F4A7C15ULL
    return <Py_ssize_t>(first >> 48)

cdef inline bint is_part(bytes octets, bytes data, Py_ssize_t at, Py_ssize_t size) noexcept:
    return len(octets) == size and memcmp(<const char *>octets, <const char *>data + at, size) == 0

cdef inline bint is_same(bytes data, Py_ssize_t at, Py_ssize_t other, Py_ssize_t size) noexcept:
    return memcmp(<const char *>data + at, <const char *>data + other, size) == 0

cdef extern from *:
    """
    #if defined(__GNUC__) || defined(__clang__)
    #define netconsd_prefetch(at) __builtin_prefetch(at)
    #else
    #define netconsd_prefetch(at)
    #endif
    """
    void netconsd_prefetch(const void *at) noexcept nogil

cdef inline void prefetch(list blocks, uint64_t place) noexcept:
    cdef bytes block = <bytes>PyList_GET_ITEM(blocks, <Py_ssize_t>(place >> 32))
    cdef const char *at = <const char *>block + <uint32_t>place
    # Three lines of the cache: most records. Behind the block's end nothing happens.
    netconsd_prefetch(at)
    netconsd_prefetch(at + 64)
    netconsd_prefetch(at + 128)

cdef extern from *:
    """
    static inline uint32_t netconsd_crc_of_ipv4(const unsigned char *address)
    {
        /* By half a byte: a table of 64 bytes stays in the cache. */
        static const uint32_t table[16] = {
            0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
            0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c, 0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c,
        };
        unsigned char text[16];
        int length = 0, index;
        uint32_t crc = 0xffffffff;
        for (index = 0; index < 4; index++) {
            unsigned int octet = address[index];
            if (octet >= 100)
                text[length++] = '0' + octet / 100;
            if (octet >= 10)
                text[length++] = '0' + octet / 10 % 10;
            text[length++] = '0' + octet % 10;
            text[length++] = '.';
        }
        for (index = 0; index < length - 1; index++) {
            crc ^= text[index];
            crc = crc >> 4 ^ table[crc & 15];
            crc = crc >> 4 ^ table[crc & 15];
        }
        return ~crc;
    }
    """
    uint32_t netconsd_crc_of_ipv4(const unsigned char *address) noexcept nogil

cdef inline uint32_t crc_of_ipv4(bytes data, Py_ssize_t at) noexcept:
    return netconsd_crc_of_ipv4(<const unsigned char *><const char *>data + at)

cdef inline int i32_of(array.array numbers, Py_ssize_t index) noexcept:
    return numbers.data.as_ints[index]

cdef inline long long i64_of(array.array numbers, Py_ssize_t index) noexcept:
    return numbers.data.as_longlongs[index]

cdef inline void put_i64(array.array numbers, Py_ssize_t index, long long number) noexcept:
    numbers.data.as_longlongs[index] = number

cdef inline void put_u32(array.array numbers, Py_ssize_t index, unsigned int number) noexcept:
    numbers.data.as_uints[index] = number

cdef inline void put_i16(array.array numbers, Py_ssize_t index, short number) noexcept:
    numbers.data.as_shorts[index] = number

cdef inline void put_i8(array.array numbers, Py_ssize_t index, signed char number) noexcept:
    numbers.data.as_schars[index] = number

cdef inline void put_bit(bytearray bits, Py_ssize_t index) noexcept:
    cdef unsigned char *octets = <unsigned char *>PyByteArray_AS_STRING(bits)
    octets[index >> 3] |= 1 << (index & 7)

cdef inline unsigned long long sum_of(unsigned long long one, unsigned long long other) noexcept:
    return one + other

cdef inline Py_ssize_t put_part(bytearray data, Py_ssize_t at, bytes source, Py_ssize_t start, Py_ssize_t size) noexcept:
    memcpy(PyByteArray_AS_STRING(data) + at, <const char *>source + start, size)
    return at + size

cdef extern from *:
    """
    #if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    #define NETCONSD_BIT_OF_WORD(bit) ((bit) ^ 56)
    #else
    #define NETCONSD_BIT_OF_WORD(bit) (bit)
    #endif
    """
    unsigned int bit_of_word "NETCONSD_BIT_OF_WORD"(unsigned int bit) noexcept nogil

cdef inline void put_trigrams(bytearray bitmap, bytes text, Py_ssize_t at, Py_ssize_t end, bytes classes) noexcept:
    cdef char *bits = PyByteArray_AS_STRING(bitmap)
    cdef const unsigned char *octets = <const unsigned char *><const char *>text
    cdef const unsigned char *class_of = <const unsigned char *><const char *>classes
    cdef unsigned int first, second, third
    cdef uint64_t word
    if end - at < 3:
        return
    first = class_of[octets[at]]
    second = class_of[octets[at + 1]]
    at += 2
    while at < end:
        # A word of 64 bits for each two classes: half of the time of a byte for each eight trigrams.
        third = class_of[octets[at]]
        memcpy(&word, bits + 8 * (first << 6 | second), 8)
        word |= <uint64_t>1 << bit_of_word(third)
        memcpy(bits + 8 * (first << 6 | second), &word, 8)
        first = second
        second = third
        at += 1

cdef inline Py_ssize_t sum_slot(bytearray data, Py_ssize_t size) noexcept:
    return sum_at(PyByteArray_AS_STRING(data), size)

cdef inline bint is_begin(bytes octets, bytearray data, Py_ssize_t size) noexcept:
    return len(octets) == size and memcmp(<const char *>octets, PyByteArray_AS_STRING(data), size) == 0

cdef inline bytes taken(bytearray data, Py_ssize_t size):
    return PyByteArray_AS_STRING(data)[:size]
