"""The commands, one file each with ``main(arguments, prog)``, which returns the exit status; ``main`` finds them.

A command is imported only when it runs, so no command needs the libraries of another.
"""
