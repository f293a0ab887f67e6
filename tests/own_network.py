"""A network of its own for commands that name fixed ports: the loopback and nothing else.

Whoever runs a node on the same port, or another copy of the same test, is neither met nor disturbed, and what asks for
the world outside fails. Knows Linux namespaces. Refuses to know what is run: where the machine gives none, commands run
in the network that is there.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

HOLDER: Final = """
import contextlib, fcntl, os, socket, struct, sys

fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sH14x", b"lo", 1))  # SIOCSIFFLAGS, IFF_UP
print("up", flush=True)
sys.stdin.read()  # until the block ends, or whoever runs it is gone
network = os.readlink("/proc/self/ns/net")
for process in filter(str.isdigit, os.listdir("/proc")):
    with contextlib.suppress(OSError):
        if int(process) != os.getpid() and os.readlink(f"/proc/{process}/ns/net") == network:
            os.kill(int(process), 9)
"""


@contextmanager
def own_network() -> Iterator[list[str]]:
    """Give the words to put before a command; it then runs in the same network as the others of this block.

    What still runs there when the block ends is killed, also when the block ends because its process was.
    """
    if not (shutil.which("unshare") and shutil.which("nsenter")):
        yield []
        return
    words = ["unshare", "--user", "--map-root-user", "--net", sys.executable, "-c", HOLDER]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True) as holder:
        given = holder.stdout is not None and holder.stdout.readline() == "up\n"
        target = f"--target={holder.pid}"
        yield ["nsenter", target, "--user", "--net", "--preserve-credentials"] if given else []
