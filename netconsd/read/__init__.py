"""Reads kernel logs from files of any kind: text, JSON lines, recordings, captures of packets. Pure, except that it
reads a file object that is passed in.

Guarantees to the rooms above:

- Any bytes are accepted; nothing but an error of the file object is raised.
- Memory is bounded, whatever the length of a line or of the file.
- Entries are in the order of the file, each with the number of its line, which begins with 1.
- Lines that the caller does not look for are not made, only counted.
"""
