"""Many datagrams per system call, sorted by lane.

One call of :meth:`Receiver.receive` reads until the socket is empty, or until its slots are full, in one release of the
GIL: after each release a busy lane may keep the reader waiting for the interpreter's switch interval. Linux only.
"""

from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset

from netconsd.receive._sockets cimport (
    AF_INET, AF_INET6, MSG_DONTWAIT, MSG_TRUNC, iovec, mmsghdr, recvmmsg, sockaddr_in, sockaddr_in6,
)
from netconsd.protocol.allowlist import EVERYONE

cdef extern from "<sys/mman.h>" nogil:
    enum: MADV_DONTNEED

    int madvise(void *address, size_t length, int advice)

# A kernel's datagram fits the first part of a slot; the parts of all slots lie close together. What is larger goes on
# in the second part, whose pages cost nothing until they are needed. Together they hold every UDP datagram.
DEF HEAD = 1024
DEF TAIL = 64512
# The pages are given back when so many of the slots may have had a large datagram: a stranger could make us keep those
# of all of them, a quarter of a gigabyte, with a few large datagrams now and then.
DEF KEPT_TAILS = 8
# No page is larger on the machines that Linux runs on, so that what begins and ends with one is whole pages.
DEF PAGE = 65536
# The address and the port, in network order: Source.key.
DEF KEY = 18
# How many senders' keys are kept, each in a place that its address and port decide: a key that is there need not be
# made, nor hashed by the table of senders. A stranger's forged senders push others out, and that is all.
DEF KNOWN = 4096
# The bytes of an address; those of a network's first address and its mask.
DEF ADDRESS = 16
DEF NETWORK = 2 * ADDRESS

SLOT = HEAD + TAIL


cdef uint32_t crc_table[256]


cdef void make_crc_table() noexcept:
    # CRC-32 of zlib: the polynomial 0x04C11DB7, reflected.
    cdef uint32_t number, value
    cdef int bit
    for number in range(256):
        value = number
        for bit in range(8):
            value = (value >> 1) ^ (0xEDB88320 if value & 1 else 0)
        crc_table[number] = value


make_crc_table()


cdef uint32_t crc32_goes_on(uint32_t value, const uint8_t *data, int length) noexcept nogil:
    cdef int index
    for index in range(length):
        value = (value >> 8) ^ crc_table[(value ^ data[index]) & 0xFF]
    return value


# ::ffff: is how most addresses begin.
DEF MAPPED = 12
cdef uint8_t mapped[MAPPED]
memset(mapped, 0, 10)
memset(mapped + 10, 0xFF, 2)
cdef uint32_t crc_of_mapped = crc32_goes_on(0xFFFFFFFF, mapped, MAPPED)


cdef uint32_t crc32_of_address(const uint8_t *address) noexcept nogil:
    if memcmp(address, mapped, MAPPED) == 0:
        return ~crc32_goes_on(crc_of_mapped, address + MAPPED, 16 - MAPPED)
    return ~crc32_goes_on(0xFFFFFFFF, address, 16)


cdef class Receiver:
    """The slots of one socket. For one thread at a time."""

    cdef readonly int fd
    cdef readonly int slots
    #: Datagrams that the kernel has handed over since the start, and their bytes.
    cdef readonly long long datagrams
    cdef readonly long long octets
    #: Datagrams that were larger than a slot, since the start. (No UDP datagram is.)
    cdef readonly long long truncated
    #: Datagrams from an address that is neither IPv4 nor IPv6, since the start; they are dropped.
    cdef readonly long long dropped_bad_address
    #: Datagrams from an address that is not allowed, since the start; they are dropped.
    cdef readonly long long dropped_not_allowed
    #: Datagrams that were given up because of an exception (there was no memory for them), since the start.
    cdef readonly long long dropped_no_memory
    #: Bytes of those refused, denied or discarded.
    cdef readonly long long dropped_bytes
    #: Whether the last call of ``receive`` brought a datagram of ``PLACE_BYTES`` (netconsd.receive.lanes) or more.
    cdef readonly bint large
    # What the system said after some datagrams had been read; 0 for nothing.
    cdef int error
    cdef int batch
    cdef int lanes
    cdef mmsghdr *headers
    cdef iovec *parts
    cdef sockaddr_in6 *names
    cdef uint8_t *heads
    cdef uint8_t *tails
    cdef list known
    # Large datagrams since the pages of the tails were given back.
    cdef int large_ones
    # One behind the other.
    cdef bytes networks

    def __cinit__(self, bound, int batch, int batches, int lanes, allowed=EVERYONE):
        """
        :param bound: a UDP socket; it has to be there as long as this is used.
        :param batch: datagrams per system call.
        :param batches: system calls per release of the GIL, at most.
        :param lanes: how many lanes there are.
        :param allowed: a netconsd.protocol.allowlist.AllowList: whose datagrams are taken.
        """
        if batch < 1 or batches < 1 or lanes < 1:
            raise ValueError("batch, batches and lanes are at least 1")
        self.fd = bound.fileno()
        self.batch = batch
        self.slots = batch * batches
        self.lanes = lanes
        self.known = [None] * KNOWN
        self.networks = b"".join([first + mask for first, mask in allowed.networks])
        assert len(self.networks) == NETWORK * len(allowed.networks)
        self.headers = <mmsghdr *>calloc(self.slots, sizeof(mmsghdr))
        self.parts = <iovec *>calloc(2 * self.slots, sizeof(iovec))
        self.names = <sockaddr_in6 *>calloc(self.slots, sizeof(sockaddr_in6))
        self.heads = <uint8_t *>calloc(self.slots, HEAD)
        self.tails = <uint8_t *>calloc(self.slots, TAIL)
        if not (self.headers and self.parts and self.names and self.heads and self.tails):
            raise MemoryError()
        cdef int slot
        for slot in range(self.slots):
            self.parts[2 * slot].iov_base = self.heads + <size_t>slot * HEAD
            self.parts[2 * slot].iov_len = HEAD
            self.parts[2 * slot + 1].iov_base = self.tails + <size_t>slot * TAIL
            self.parts[2 * slot + 1].iov_len = TAIL
            self.headers[slot].msg_hdr.msg_iov = self.parts + 2 * slot
            self.headers[slot].msg_hdr.msg_iovlen = 2
            self.headers[slot].msg_hdr.msg_name = self.names + slot

    def __dealloc__(self):
        free(self.headers)
        free(self.parts)
        free(self.names)
        free(self.heads)
        free(self.tails)

    def receive(self):
        """Read what is there, and return a pair of lists for each lane: the senders' keys, and the datagrams.

        :raises OSError: if the system refuses to read, other than because there is nothing. As with recvmmsg(2) itself,
            what came before is returned first, and the error is raised by the next call.
        :raises MemoryError: if there is no memory for what was read; it is discarded, and counted.
        """
        cdef int count = 0
        cdef int got = 0
        cdef int slot, want, error
        if not self.error:
            with nogil:
                while count < self.slots:
                    want = min(self.batch, self.slots - count)
                    for slot in range(count, count + want):
                        # The kernel writes the length of the name it found there.
                        self.headers[slot].msg_hdr.msg_namelen = sizeof(sockaddr_in6)
                    got = recvmmsg(self.fd, self.headers + count, want, MSG_DONTWAIT, NULL)
                    if got < 0:
                        if errno == EINTR:
                            # As Python does with system calls of its own (PEP 475).
                            continue
                        if errno != EAGAIN:
                            self.error = errno
                        break
                    count += got
                    if got < want:
                        break
        if self.error and count == 0:
            error, self.error = self.error, 0
            raise OSError(error, "recvmmsg failed")
        return self.take(count)

    cdef list take(self, int count):
        """Sort by lane what has been read; count all of it, and what was rejected."""
        cdef long long octets = 0
        cdef long long rejected = self.dropped_bad_address + self.dropped_not_allowed
        cdef long long dropped_bytes = self.dropped_bytes
        cdef int slot
        for slot in range(count):
            octets += self.headers[slot].msg_len
        self.datagrams += count
        self.octets += octets
        try:
            return self.sort(count)
        except Exception:
            self.dropped_no_memory += rejected + count - self.dropped_bad_address - self.dropped_not_allowed
            self.dropped_bytes = dropped_bytes + octets
            raise

    cdef list sort(self, int count):
        cdef list result = [([], []) for _ in range(self.lanes)]
        cdef list senders, datagrams
        cdef bytes sender
        cdef uint8_t key[KEY]
        cdef int slot
        cdef uint32_t crc
        self.large = False
        for slot in range(count):
            if not self.read_key(slot, key):
                self.dropped_bad_address += 1
                self.dropped_bytes += self.headers[slot].msg_len
                continue
            if self.headers[slot].msg_hdr.msg_flags & MSG_TRUNC:
                self.truncated += 1
            crc = crc32_of_address(key)
            sender = self.key_object(key, crc)
            if sender is None:
                self.dropped_not_allowed += 1
                self.dropped_bytes += self.headers[slot].msg_len
                continue
            senders, datagrams = <tuple>result[crc % <uint32_t>self.lanes]
            senders.append(sender)
            datagrams.append(self.datagram(slot))
        if self.large_ones * KEPT_TAILS > self.slots:
            self.give_back()
        return result

    cdef void give_back(self) noexcept:
        cdef size_t start = (<size_t>self.tails + PAGE - 1) & ~<size_t>(PAGE - 1)
        cdef size_t end = (<size_t>self.tails + <size_t>self.slots * TAIL) & ~<size_t>(PAGE - 1)
        if start < end:
            # If that fails, they stay.
            madvise(<void *>start, end - start, MADV_DONTNEED)
        self.large_ones = 0

    cdef bytes key_object(self, const uint8_t *key, uint32_t crc):
        """The key of a sender; None of one that is not allowed, who gets no place and so pushes out nobody."""
        cdef Py_ssize_t place = ((crc >> 16) ^ crc ^ (<uint32_t>key[16] << 8) ^ key[17]) % KNOWN
        cdef bytes known = self.known[place]
        if known is None or memcmp(<const char *>known, key, KEY) != 0:
            if self.networks and not self.admits(key):
                return None
            known = (<const char *>key)[:KEY]
            self.known[place] = known
        return known

    cdef bint admits(self, const uint8_t *address) noexcept:
        # As netconsd.protocol.allowlist.AllowList.admits.
        cdef const uint8_t *network = <const uint8_t *><const char *>self.networks
        cdef const uint8_t *end = network + len(self.networks)
        cdef bint is_ipv4 = memcmp(address, mapped, MAPPED) == 0
        cdef int index
        while network < end:
            if (memcmp(network, mapped, MAPPED) == 0) == is_ipv4:
                index = MAPPED if is_ipv4 else 0
                while index < ADDRESS and (address[index] & network[ADDRESS + index]) == network[index]:
                    index += 1
                if index == ADDRESS:
                    return True
            network += NETWORK
        return False

    cdef bint read_key(self, int slot, uint8_t *key) noexcept:
        cdef sockaddr_in6 *name = self.names + slot
        cdef sockaddr_in *name4 = <sockaddr_in *>name
        if name.sin6_family == AF_INET6:
            memcpy(key, &name.sin6_addr, 16)
            memcpy(key + 16, &name.sin6_port, 2)
        elif name.sin6_family == AF_INET:
            memcpy(key, mapped, MAPPED)
            memcpy(key + MAPPED, &name4.sin_addr, 4)
            memcpy(key + 16, &name4.sin_port, 2)
        else:
            return False
        return True

    cdef bytes datagram(self, int slot):
        # Of a truncated datagram this is what there was room for.
        cdef Py_ssize_t length = self.headers[slot].msg_len
        cdef char *head = <char *>self.heads + <size_t>slot * HEAD
        if length < HEAD:
            return head[:length]
        self.large = True
        self.large_ones += 1
        if length == HEAD:
            return head[:length]
        return head[:HEAD] + (<char *>self.tails + <size_t>slot * TAIL)[:length - HEAD]
