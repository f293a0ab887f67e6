"""The stranger's check: one self-contained evidence file, judged step by step, offline.

Installs with a hash and a signature library. Whatever reads files (image decoder, content credentials) is an argument;
absent means "cannot tell". Refuses to know servers, databases, clocks and chains.
"""
