# Faults for .ci/sanitized, which adds this to a compiled file: if they are not found, no others would be.
cimport cython


@cython.boundscheck(False)
@cython.wraparound(False)
def read_beyond(bytes data, Py_ssize_t index):
    return data[index]


def shift(int value, int places):
    return value << places
