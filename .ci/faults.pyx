# Faults on purpose: .ci/sanitized appends them to a compiled file and checks that the sanitizers report them.
cimport cython


@cython.boundscheck(False)
@cython.wraparound(False)
def read_beyond(bytes data, Py_ssize_t index):
    return data[index]


def shift(int value, int places):
    return value << places
