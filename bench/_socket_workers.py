"""Workers over real sockets in one process, for the benchmark: `python -m bench._socket_workers URL COUNT MODE`.

MODE `work` registers every worker, answers pieces with blocks of zeros (right ones, since the picture is black), and
prints one JSON line per job that ended: micro jobs, and the seconds from its first piece to its last receipt. MODE
`idle` only connects and prints one line when all are connected.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import httpx
from websockets.asyncio.client import connect

from tallystick import wire
from tallystick.commitment import Opening, Output
from tallystick.ledger import payloads as say
from tallystick.ledger.transactions import Draft, sign
from tallystick.node.identity import Identity
from tallystick.node.worker import Assignment, Worker
from tallystick.primitives.digests import sha256
from tallystick.slicing import MicroJob, Slot, block_length, layout

STAKE = str(1_000 * 10**18)
CAPACITY = 8


@dataclass
class Tally:
    """What all workers did together."""

    first: float = 0.0
    last: float = 0.0
    receipts: int = 0
    told: asyncio.Event = field(default_factory=asyncio.Event)

    def note(self) -> None:
        self.last = time.perf_counter()
        self.receipts += 1


class SocketWorker:
    """One worker: one socket, one HTTP client."""

    def __init__(self, url: str, number: int, http: httpx.AsyncClient, tally: Tally) -> None:
        self.identity = Identity(sha256(b"bench worker", number.to_bytes(4, "big")))
        self.worker = Worker(self.identity.worker(1, 0), self.identity.worker_secret(1, 0), "numpy")
        self.url, self.http, self.tally, self.nonce, self.chain_id = url, http, tally, 0, ""
        self.roots: dict[str, str] = {}

    async def register(self) -> None:
        key = self.worker.key
        facts = (await self.http.get("/api/v1/node")).json()
        self.chain_id = facts["chain_id"]
        operator, payout = self.identity.operator(1, 0), self.identity.payout(1, 0)
        consent = self.identity.consent(operator, key, self.chain_id, payout)
        entered = say.NodeRegistered(
            operator.public.hex(), consent.hex(), payout, say.Tier.DECLARED, "numpy", simulated=False
        )
        answer = await self.http.post("/api/v1/faucet", json={"address": key.address, "amount": STAKE})
        answer.raise_for_status()
        for payload in (entered, say.StakeDeposited(STAKE)):
            entry = sign(Draft(key, payload), self.chain_id, self.nonce).entry
            self.nonce += 1
            answer = await self.http.post(
                "/api/v1/transactions", content=entry, headers={"content-type": "application/json"}
            )
            answer.raise_for_status()

    async def open(self) -> Any:  # noqa: ANN401 - a connection
        socket = await connect(f"{self.url.replace('http', 'ws', 1)}/worker", max_size=wire.FRAME_BYTES_MAX)
        auth = wire.read_from_node(await socket.recv())
        assert isinstance(auth, wire.Auth)
        key = self.worker.key
        signature = key.sign(wire.hello_digest(auth.chain_id, auth.nonce)).hex()
        await socket.send(wire.spell(wire.Hello(key.public.hex(), signature, "numpy", (), CAPACITY, "bench")))
        ready = wire.read_from_node(await socket.recv())
        assert isinstance(ready, wire.Ready)
        self.nonce = ready.nonce
        return socket

    async def run(self) -> None:
        socket = await self.open()
        beating = asyncio.create_task(self.beat(socket))
        async for frame in socket:
            message = wire.read_from_node(frame)
            match message:
                case wire.Job():
                    if not self.tally.first:
                        self.tally.first = time.perf_counter()
                    task = asyncio.create_task(self.work(socket, message))
                    task.add_done_callback(lambda task: task.result())
                case wire.Receipt(job_id=name):
                    self.tally.note()
                    result = wire.JobResult(name, self.worker.key.address, self.roots.pop(name))
                    await socket.send(wire.spell(result))
                case wire.Challenge():
                    await socket.send(wire.spell(self.opening(message)))
                case wire.Refused(reason=reason):
                    print(json.dumps({"refused": reason}), flush=True)
                case _:
                    pass
        beating.cancel()

    async def beat(self, socket: Any) -> None:  # noqa: ANN401
        while True:
            await asyncio.sleep(4)
            await socket.send(wire.spell(wire.Heartbeat()))

    def assignment(self, payload: wire.JobPayload) -> Assignment:
        slots = tuple(Slot(block, copy=False) for block in payload.blocks)
        return Assignment(payload.spec, MicroJob(payload.microjob, payload.macrojob, 0, slots))

    async def work(self, socket: Any, job: wire.Job) -> None:  # noqa: ANN401
        payload = job.payload
        assignment = self.assignment(payload)
        counts, meta = layout(payload.spec), self.worker.meta(assignment)
        blocks = [bytes(block_length(payload.spec, counts, block)) for block in payload.blocks]
        outputs = [Output(sha256(data), len(data), meta) for data in blocks]
        headers = {"upload-offset": "0", "content-type": "application/offset+octet-stream"}
        answer = await self.http.patch(payload.output.path, content=b"".join(blocks), headers=headers)
        answer.raise_for_status()
        posted = self.worker.post(assignment, self.worker.leaves(assignment, outputs))
        self.roots[job.job_id] = posted.payload.result_hash
        entry = sign(Draft(self.worker.key, posted.payload), payload.spec.chain_id, self.nonce).entry
        self.nonce += 1
        await socket.send(wire.spell(wire.CommitmentMessage(job.job_id, entry.decode(), meta.hex())))

    def opening(self, message: wire.Challenge) -> wire.OpeningMessage:
        openings: tuple[Opening, ...] | None = self.worker.open(
            self.assignment(message.payload), [bytes.fromhex(digest) for digest in message.outputs]
        )
        opened = tuple(wire.OpenedLeaf(each.salt.hex(), each.leaf.hex()) for each in openings or ())
        return wire.OpeningMessage(message.job_id, opened)


async def main(url: str, count: int, mode: str) -> None:
    """Connect and work, or idle, until standard input ends."""
    tally = Tally()
    limits = httpx.Limits(max_connections=4, max_keepalive_connections=4)
    async with AsyncExitStack() as stack:
        # One client each, as workers on different machines have: one pool for all searches through all connections.
        made = [
            httpx.AsyncClient(base_url=url, timeout=60, limits=limits) for _ in range(count if mode == "work" else 1)
        ]
        clients = [await stack.enter_async_context(client) for client in made]
        workers = [SocketWorker(url, number, clients[number % len(clients)], tally) for number in range(count)]
        if mode == "idle":
            sockets = [await worker.open() for worker in workers]
            print(json.dumps({"connected": len(sockets)}), flush=True)
            await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
            return
        for worker in workers:
            await worker.register()
        tasks = [asyncio.create_task(worker.run()) for worker in workers]
        print(json.dumps({"connected": count}), flush=True)
        loop = asyncio.get_running_loop()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            wanted = int(line)
            while tally.receipts < wanted:
                await asyncio.sleep(0.02)
                for task in tasks:
                    if task.done():
                        task.result()
            print(json.dumps({"microjobs": tally.receipts, "seconds": tally.last - tally.first}), flush=True)
        for task in tasks:
            task.cancel()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
