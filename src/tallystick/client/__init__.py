"""The far side of a node: the SDK over HTTP, and the runtime of a worker on another machine.

Knows a node's address and its wire. Refuses to know how a node works inside, files' formats, and executors.
"""
