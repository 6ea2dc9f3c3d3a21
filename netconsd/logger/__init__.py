"""The parts of the shipped module `logger`: lines, files, names, patterns."""
