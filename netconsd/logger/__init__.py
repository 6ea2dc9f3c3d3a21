"""The parts of the shipped module `logger`: filter and statistics, names, lines, files.

Guarantees: a worker never waits for DNS; a line that cannot be written is dropped and counted, and affects no other
file; no file name leaves the directory.
"""
