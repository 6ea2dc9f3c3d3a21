# Per text of 80 bytes: 0.07 us of CPU; in plain Python 8 us.
cimport cython
from cpython cimport array

from netconsd.protocol cimport octets
from netconsd.store cimport packing

cdef bytes _CLASSES

@cython.locals(at=Py_ssize_t, end=Py_ssize_t, count=Py_ssize_t, index=Py_ssize_t)
cpdef add(bytearray bitmap, bytes text, array.array ends)
