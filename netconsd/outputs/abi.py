"""Calls compiled modules in plain Python, with the structures of netconsd/include/netconsd.h.

``_native.pyx`` is the compiled :func:`hand_over`.
"""

from __future__ import annotations

import ctypes
from math import isfinite
from socket import AF_INET6, MSG_TRUNC, htons

from netconsd.protocol.message import ExtendedMessage, Message

# The C daemon's receive buffer and its longest reassembled body, without the final NUL. Modules that were compiled for
# the C daemon may copy texts into buffers of these sizes, which 64 KiB from a sender would overflow.
BODY_MAX = 8191
DATAGRAM_MAX = 1023
VERSION_SIZE = 64


class NcrxList(ctypes.Structure):
    """``struct ncrx_list``."""

    _fields_ = [("next", ctypes.c_void_p), ("prev", ctypes.c_void_p)]


class NcrxMsg(ctypes.Structure):
    """``struct ncrx_msg``; the bytes of text and dict follow from ``buf`` on."""

    # Compilers put the flags into one unit of 32 bits with facility and level. ctypes does so only since Python 3.13,
    # but puts bit fields of eight bits into the same byte in every version.
    _fields_ = [
        ("seq", ctypes.c_uint64),
        ("ts_usec", ctypes.c_uint64),
        ("text", ctypes.c_void_p),
        ("dict", ctypes.c_void_p),
        ("text_len", ctypes.c_int),
        ("dict_len", ctypes.c_int),
        ("facility", ctypes.c_uint8),
        ("level", ctypes.c_uint8),
        ("cont_start", ctypes.c_uint8, 1),
        ("cont", ctypes.c_uint8, 1),
        ("oos", ctypes.c_uint8, 1),
        ("seq_reset", ctypes.c_uint8, 1),
        ("node", NcrxList),
        ("rx_at_mono", ctypes.c_uint64),
        ("rx_at_real", ctypes.c_uint64),
        ("ncfrag_off", ctypes.c_int),
        ("ncfrag_len", ctypes.c_int),
        ("ncfrag_left", ctypes.c_int),
        ("version", ctypes.c_char * VERSION_SIZE),
        ("emg", ctypes.c_uint8, 1),
        ("buf", ctypes.c_char * 0),
    ]


class Iovec(ctypes.Structure):
    """``struct iovec``."""

    _fields_ = [("iov_base", ctypes.c_void_p), ("iov_len", ctypes.c_size_t)]


class In6Addr(ctypes.Structure):
    """``struct in6_addr``."""

    _fields_ = [("s6_addr", ctypes.c_uint8 * 16)]


class SockaddrIn6(ctypes.Structure):
    """``struct sockaddr_in6``; the port in network order."""

    _fields_ = [
        ("sin6_family", ctypes.c_uint16),
        ("sin6_port", ctypes.c_uint16),
        ("sin6_flowinfo", ctypes.c_uint32),
        ("sin6_addr", In6Addr),
        ("sin6_scope_id", ctypes.c_uint32),
    ]


class MsgBuf(ctypes.Structure):
    """``struct msg_buf``; the text follows from ``buf`` on."""

    _fields_ = [
        ("next", ctypes.c_void_p),
        ("iovec", Iovec),
        ("src", SockaddrIn6),
        ("rcv_time", ctypes.c_uint64),
        ("rcv_flags", ctypes.c_int),
        ("rcv_bytes", ctypes.c_int),
        ("buf", ctypes.c_char * 0),
    ]


_HANDLER = ctypes.CFUNCTYPE(
    None, ctypes.c_int, ctypes.POINTER(In6Addr), ctypes.POINTER(MsgBuf), ctypes.POINTER(NcrxMsg)
)


def hand_over(handler: int, worker: int, messages: list[Message], to_monotonic: float) -> int:
    """Call a compiled module's handler for each message, in order; return the number of truncated messages.

    The GIL is released while the handler runs. The structures are valid until the handler returns.

    :param handler: the address of ``netconsd_output_handler``.
    :param messages: extended messages, and legacy datagrams or lines, which are passed as a ``msg_buf``.
    :param to_monotonic: the seconds to add to Unix time for monotonic time.
    """
    function = _HANDLER(handler)
    cut = 0
    for message in messages:
        source = In6Addr.from_buffer_copy(message.source.packed)
        if isinstance(message, ExtendedMessage):
            body = message.raw.partition(b"\0")[0]
            cut += len(body) > BODY_MAX
            function(worker, ctypes.byref(source), None, ctypes.byref(_record(message, body[:BODY_MAX], to_monotonic)))
        else:
            cut += len(message.raw) > DATAGRAM_MAX
            function(worker, ctypes.byref(source), ctypes.byref(_datagram(message)), None)
    return cut


def _record(message: ExtendedMessage, body: bytes, to_monotonic: float) -> NcrxMsg:
    record = NcrxMsg.from_buffer(bytearray(ctypes.sizeof(NcrxMsg) + len(body) + 1))
    text = ctypes.addressof(record) + NcrxMsg.buf.offset
    # The byte after the text is 0 already.
    ctypes.memmove(text, body, len(body))
    newline = body.find(b"\n")
    record.text = text
    record.text_len = len(body) if newline < 0 else newline
    if newline >= 0:
        ctypes.memmove(text + newline, b"\0", 1)
        record.dict = text + newline + 1
        record.dict_len = len(body) - newline - 1
    record.seq = message.seq
    record.ts_usec = message.ts_usec
    record.facility = message.facility
    record.level = message.level
    record.cont = message.continuation
    record.oos = message.out_of_order
    record.seq_reset = message.seq_reset
    record.emg = message.emergency
    record.ncfrag_left = message.incomplete
    record.rx_at_mono = _milliseconds(message.received_at + to_monotonic)
    record.rx_at_real = _milliseconds(message.received_at)
    # The release of the header. The one of the sysdata is a line of the dict, as in the C daemon.
    record.version = (message._release or b"")[: VERSION_SIZE - 1]
    record.node.next = record.node.prev = ctypes.addressof(record) + NcrxMsg.node.offset
    return record


def _datagram(message: Message) -> MsgBuf:
    text = message.raw[:DATAGRAM_MAX]
    datagram = MsgBuf.from_buffer(bytearray(ctypes.sizeof(MsgBuf) + len(text) + 1))
    at = ctypes.addressof(datagram) + MsgBuf.buf.offset
    ctypes.memmove(at, text, len(text))
    datagram.iovec.iov_base = at
    datagram.iovec.iov_len = len(text)
    datagram.src.sin6_family = AF_INET6
    datagram.src.sin6_port = htons(message.source.port)
    datagram.src.sin6_addr = In6Addr.from_buffer_copy(message.source.packed)
    datagram.src.sin6_scope_id = message.source.scope
    datagram.rcv_time = _milliseconds(message.received_at)
    datagram.rcv_flags = MSG_TRUNC if len(message.raw) > DATAGRAM_MAX else 0
    datagram.rcv_bytes = len(text)
    return datagram


def _milliseconds(seconds: float) -> int:
    # A message can have a time before 1970, or a time that is not a number.
    return int(seconds * 1000) if isfinite(seconds) and 0 <= seconds < 1e15 else 0
