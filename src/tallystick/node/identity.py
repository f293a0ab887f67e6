"""Every key of a home, derived from one master key by HKDF; nothing else is kept.

Purposes are listed here and nowhere else, so that no two uses share a key.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tallystick.ledger.accounts import operator_digest
from tallystick.ledger.genesis import Allocation, Genesis
from tallystick.node.sequencer import Parameters
from tallystick.primitives.amounts import WEI_PER_CPC
from tallystick.primitives.digests import hmac_sha256, sha256, u32
from tallystick.primitives.keys import SigningKey
from tallystick.primitives.keystore import derive
from tallystick.primitives.notes import NoteSigner

NETWORK = "tally-dev"
HOME_ACCOUNT = "home"
"""The account of whoever works in the home itself; its key is the home's requester."""
FAUCET_CPC = 1_000_000_000
GAS_LIMIT = 400_000_000


@dataclass(frozen=True, slots=True)
class Identity:
    """The keys of one home."""

    master: bytes = field(repr=False)

    def key(self, purpose: str) -> SigningKey:
        """Return the account key of a purpose."""
        return SigningKey(derive(self.master, purpose))

    def coordinator(self) -> SigningKey:
        """Who makes headers and judges jobs."""
        return self.key("coordinator")

    def arbiter(self) -> SigningKey:
        """Who resolves disputes."""
        return self.key("arbiter")

    def requester(self) -> SigningKey:
        """The buyer of this home."""
        return self.key("requester")

    def account(self, name: str) -> SigningKey:
        """Return the custodial key of an account of this node; the home's own is its requester."""
        return self.requester() if name == HOME_ACCOUNT else self.key(f"account/{name}")

    def faucet(self) -> SigningKey:
        """Who holds all play money of a development ledger at height zero."""
        return self.key("faucet")

    def worker(self, operators: int, seat: int) -> SigningKey:
        """A local worker's own key; pools of another number of operators have other workers."""
        return self.key(f"worker/{operators}/{seat}")

    def worker_secret(self, operators: int, seat: int) -> bytes:
        """The secret from which a local worker derives its salts."""
        return derive(self.master, f"worker-secret/{operators}/{seat}")

    def operator(self, operators: int, seat: int) -> SigningKey:
        """Who answers for the worker of a seat."""
        return self.key(f"operator/{operators}/{seat % operators}")

    def payout(self, operators: int, seat: int) -> str:
        """Where the pay of a seat goes: its operator's account."""
        return self.key(f"payout/{operators}/{seat % operators}").address

    def remote_worker(self, slot: str) -> SigningKey:
        """A worker that this home sends to a node elsewhere, one key for each that runs at the same time."""
        return self.key(f"remote-worker/{slot}")

    def remote_worker_secret(self, slot: str) -> bytes:
        """The secret from which such a worker derives its salts."""
        return derive(self.master, f"remote-worker-secret/{slot}")

    def remote_operator(self) -> SigningKey:
        """Who answers for all workers that this home sends elsewhere."""
        return self.key("remote-operator")

    def remote_payout(self) -> str:
        """Where their pay goes."""
        return self.key("remote-payout").address

    def log(self) -> NoteSigner:
        """The log's checkpoint key; its name is the log's origin."""
        seed = derive(self.master, "log")
        origin = f"tallystick.local/{sha256(derive(self.master, 'log-origin')).hex()[:16]}"
        return NoteSigner(origin, seed)

    def authority(self) -> tuple[bytes, bytes]:
        """Secrets of the content credentials' root and of its signing leaf."""
        return derive(self.master, "c2pa/root"), derive(self.master, "c2pa/leaf")

    def job_secret(self, purpose: str, job_id: str, attempt: int) -> bytes:
        """A 32-byte secret of one attempt of one job; a restart derives it again."""
        return hmac_sha256(derive(self.master, f"job/{purpose}"), sha256(job_id.encode()), u32(attempt))

    def salt(self, purpose: str, job_id: str, attempt: int) -> bytes:
        """A 16-byte salt of one private field of one attempt."""
        return self.job_secret(f"salt/{purpose}", job_id, attempt)[:16]

    def consent(self, operator: SigningKey, worker: SigningKey, chain_id: str, payout: str) -> bytes:
        """Sign, as an operator, that a worker is its own and where the worker's pay goes."""
        return operator.sign(operator_digest(chain_id, worker.public, payout))

    def genesis(self, now: int) -> Genesis:
        """Return a development ledger's first page: this home's keys, all money in the faucet."""
        log = self.log()
        return Genesis(
            version=1,
            network=NETWORK,
            time=now,
            log_origin=log.name,
            log_vkey=log.vkey,
            coordinator=self.coordinator().public.hex(),
            arbiter=self.arbiter().public.hex(),
            allocations=(Allocation(self.faucet().address, str(FAUCET_CPC * WEI_PER_CPC)),),
            gas_price_min=0,
            gas_limit=GAS_LIMIT,
        )

    def parameters(self, genesis: Genesis) -> Parameters:
        """Return what a sequencer of this home is made with."""
        return Parameters(genesis, self.coordinator(), self.log())
