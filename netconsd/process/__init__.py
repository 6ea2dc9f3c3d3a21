"""Takes messages out of a broker, gives them to the lanes, and acknowledges them when the modules have them.

To the rooms above: every message of the broker that was received is handed to the lanes, dropped as a copy, or
damaged, each with a counter; one is acknowledged when the modules have returned from it and a disk has it. Nothing from
the broker raises or grows without bound. Messages of one machine are in order, also when another processor takes over.
"""
