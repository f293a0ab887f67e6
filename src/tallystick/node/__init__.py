"""Where time, randomness and I/O enter: ports, the pure machines that decide, and the shell that does.

``sequencer``, ``coordinator`` and ``worker`` are pure; ``solo`` and ``shell`` drive them through the ports.
"""
