"""From a wish to an order: the JobSpec with its law, price and deadlines, and the entries that must stand before it.

Pure: sizes, keys, time and what the ledger knows are arguments.
"""

from __future__ import annotations

from typing import Final

import msgspec

from tallystick.errors import PolicyError, PriceError, UsageError
from tallystick.job import (
    PPM,
    SIDE_MAX,
    Deadlines,
    Grid,
    JobSpec,
    Placement,
    Price,
    Seat,
    TaskType,
    Upscale,
    VerificationClass,
    VerificationPolicy,
    parse_scale,
    scale_text,
)
from tallystick.kernels.lanczos import KERNEL_NAME, target_size
from tallystick.kernels.raster import Raster, raster_digest
from tallystick.ledger import payloads as say
from tallystick.ledger.records import Account, Node, View, account_key, node_key
from tallystick.ledger.settlement import Quote, exposure, quote
from tallystick.ledger.transactions import Draft
from tallystick.node.identity import HOME_ACCOUNT, Identity
from tallystick.primitives.digests import field_commitment, sha256
from tallystick.primitives.keys import SigningKey
from tallystick.slicing import Layout, check_separable, check_task, layout, share
from tallystick.verification.deterrence import NO_DETERRENCE, check_policy

DEFAULT_BLOCK: Final = 256
DEFAULT_WORKERS: Final = 3
DEFAULT_DUPLICATES: Final = 62_500
DEFAULT_AUDIT: Final = 130_000
AUDIT_STEPS: Final = (250_000, 500_000, PPM)
BLOCKS_PER_MICROJOB: Final = 16
MICROJOBS_PER_MACROJOB: Final = 10
WEI_PER_PIXEL: Final = 10**9
"""0.001 CPC for a million output pixels."""
STAKE_IN_COSTS: Final = 10
HOUR_MS: Final = 3_600_000
BACKEND: Final = "numpy"
INDEPENDENCE_NONE: Final = "independence: none"
COPIES_REFEREE: Final = "copies: computed by the referee"
COPIES_HIDDEN: Final = "copies: hidden among the micro jobs"


class Windows(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long after the order each deadline lies, in milliseconds."""

    commit: int = 6 * HOUR_MS
    upload: int = 7 * HOUR_MS
    reveal: int = 8 * HOUR_MS
    judge: int = 7 * 24 * HOUR_MS
    dispute: int = 8 * 24 * HOUR_MS
    refund: int = 9 * 24 * HOUR_MS

    def after(self, now: int) -> Deadlines:
        """Return the deadlines of an order given now."""
        return Deadlines(
            commit=now + self.commit,
            upload=now + self.upload,
            reveal=now + self.reveal,
            judge=now + self.judge,
            dispute=now + self.dispute,
            refund=now + self.refund,
        )


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that an order says of its decoded input: its size, and the digest of its raster in hex."""

    width: int
    height: int
    channels: int
    depth: int
    digest: str


def source_of(raster: Raster) -> Source:
    """Return what an order says of an input."""
    return Source(raster.width, raster.height, raster.channels, raster.depth, raster_digest(raster).hex())


class Wish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the buyer wants, kept privately by the home so that a restart can go on; paths never enter the log.

    ``input`` is the SHA-256 of the input file's bytes, a blob of the home. ``operators`` counts who answers for the
    workers; ``dishonest`` of them forge, in demonstrations and tests. ``remote`` workers are recruited when the order
    is written, at least ``workers_least`` of them; ``account`` names the buyer, ``price_max`` the wei that may be
    locked, empty for any price. With ``audit_least`` the audit rate is raised to what deters where the asked one does
    not. ``requester`` is the key in hex of a buyer that signs for itself, empty where this home signs for its account.
    ``weight`` is about how many bytes it holds in memory while a node runs it, ``size`` how many its input file has;
    ``source`` is its input as it was decoded when it was taken, so that nothing is decoded before workers are found.
    """

    job_id: str
    input: str
    input_name: str
    output_path: str
    scale: str
    created: int
    block: int = DEFAULT_BLOCK
    workers: int = DEFAULT_WORKERS
    operators: int = 1
    placement: Placement = Placement.SPREAD
    duplicates: int | None = None
    audit: int = DEFAULT_AUDIT
    audit_blocks: int = 1
    simulated: bool = False
    dishonest: int = 0
    windows: Windows = Windows()
    account: str = HOME_ACCOUNT
    remote: bool = False
    price_max: str = ""
    workers_least: int = 1
    audit_least: bool = False
    requester: str = ""
    weight: int = 0
    size: int = 0
    source: Source | None = None

    @property
    def local(self) -> bool:
        """Whether the workers are this home's own."""
        return not self.remote

    @property
    def duplicate_rate(self) -> int:
        """Copies asked for: none by default where every block is audited, or where the grid says how many there are."""
        if self.duplicates is not None:
            return self.duplicates
        return 0 if self.audit == PPM or self.placement is Placement.HIDDEN else DEFAULT_DUPLICATES


def make_spec(
    wish: Wish,
    attempt: int,
    source: Source,
    identity: Identity,
    pool: tuple[Seat, ...],
    *,
    chain_id: str,
    now: int,
) -> JobSpec:
    """Write the order as the home that takes it does: its salt hides the input, its keys are its custodial buyers'.

    Raises:
        UsageError: scale, block side or size cannot be ordered.
        PolicyError: copies cannot be kept apart, or the audits do not deter.
    """
    buyer = wish.requester or identity.account(wish.account).public.hex()
    hidden = hide_input(wish.job_id, identity.salt("input", wish.job_id, attempt), bytes.fromhex(source.digest))
    order = write_spec(wish, attempt, source, hidden, buyer, pool, chain_id=chain_id, now=now)
    check_order(order)
    return order


def hide_input(job_id: str, salt: bytes, digest: bytes) -> str:
    """Return the salted commitment to the digest of an input raster, in hex."""
    return field_commitment(sha256(job_id.encode()), "input", salt, digest).hex()


def write_spec(
    wish: Wish,
    attempt: int,
    source: Source | Raster,
    hidden: str,
    buyer: str,
    pool: tuple[Seat, ...],
    *,
    chain_id: str,
    now: int,
) -> JobSpec:
    """Write the order for an upscale by the workers of a pool, for a buyer by its key in hex.

    ``hidden`` is the commitment to the input. Both sides of an order write it: the one that offers it, and the one that
    holds the offer against its form.

    Raises:
        UsageError: scale, block side or size cannot be ordered.
    """
    scale = parse_scale(wish.scale)
    width, height = target_size(source.width, scale), target_size(source.height, scale)
    blocks = -(-width // wish.block) * -(-height // wish.block)
    block_price = -(-WEI_PER_PIXEL * width * height // blocks)
    referee_price = -(-block_price * 10 // 12)
    spec = JobSpec(
        version=1,
        chain_id=chain_id,
        job_id=wish.job_id,
        attempt=attempt,
        requester=buyer,
        task_type=TaskType.IMAGE_UPSCALING,
        task=Upscale(
            kernel=KERNEL_NAME,
            scale=scale_text(scale),
            source_width=source.width,
            source_height=source.height,
            target_width=width,
            target_height=height,
            channels=source.channels,
            depth=source.depth,
        ),
        input=hidden,
        grid=Grid(wish.block, BLOCKS_PER_MICROJOB, MICROJOBS_PER_MACROJOB),
        pool=pool,
        policy=VerificationPolicy(
            law=VerificationClass.EXACT,
            placement=wish.placement,
            duplicates=wish.duplicate_rate,
            audit=wish.audit,
            audit_blocks=BLOCKS_PER_MICROJOB if wish.audit == PPM else wish.audit_blocks,
            ringers=0,
            colluding=PPM if _operators(pool) == 1 else 0,
            gain="0",
            stake="0",
            absence="0",
        ),
        price=Price(str(block_price), str(referee_price)),
        deadlines=wish.windows.after(now),
        labels=(),
        simulated=wish.simulated,
    )
    order = _with_stakes(msgspec.structs.replace(spec, labels=_labels(wish, spec, layout(spec))), referee_price)
    return _deterring(order) if wish.audit_least else order


def _deterring(spec: JobSpec) -> JobSpec:
    """Return the order with the first audit rate that deters and draws something: the asked one, a quarter, and up."""
    for rate in (spec.policy.audit, *(rate for rate in AUDIT_STEPS if rate > spec.policy.audit)):
        every = rate == PPM
        policy = msgspec.structs.replace(
            spec.policy, audit=rate, audit_blocks=spec.grid.blocks_per_microjob if every else spec.policy.audit_blocks
        )
        order = msgspec.structs.replace(spec, policy=policy)
        try:
            check_policy(order, layout(order))
        except PolicyError:
            continue
        if share(rate, layout(order).microjobs):  # a rate that rounds to nothing deters nobody, whatever its label
            return order
    return spec


def check_order(spec: JobSpec) -> None:
    """Refuse what the ledger would refuse, before anything is registered, bonded or locked for it.

    Raises:
        UsageError: the task cannot be planned, or a side is too long.
        PolicyError: copies cannot be kept apart, or the audits do not deter.
    """
    counts, longest = layout(spec), max(spec.task.target_width, spec.task.target_height)
    check_task(spec)
    if longest > SIDE_MAX:
        raise UsageError(f"the output would be {longest} pixels long, {SIDE_MAX} are possible: use a smaller --scale")
    check_separable(spec, counts)
    check_policy(spec, counts)


def _with_stakes(spec: JobSpec, referee_price: int) -> JobSpec:
    """Set S = 10 C per micro job, and C for never committing."""
    cost = referee_price * layout(spec).size
    policy = msgspec.structs.replace(spec.policy, stake=str(STAKE_IN_COSTS * cost), absence=str(cost))
    return msgspec.structs.replace(spec, policy=policy)


def local_pool(wish: Wish, identity: Identity) -> tuple[Seat, ...]:
    """Return the workers that a home has of its own, one key for each seat."""
    return tuple(
        Seat(identity.worker(wish.operators, seat).public.hex(), identity.operator(wish.operators, seat).public.hex())
        for seat in range(wish.workers)
    )


def _operators(pool: tuple[Seat, ...]) -> int:
    return len({seat.operator for seat in pool})


def _labels(wish: Wish, spec: JobSpec, counts: Layout) -> tuple[str, ...]:
    """Say what this order cannot promise: whose keys are in one hand, and what the copies or audits lack."""
    labels = set() if wish.requester else {INDEPENDENCE_NONE}
    if spec.operators == 1:
        labels.add(NO_DETERRENCE)
        if counts.copies:
            labels.add(COPIES_REFEREE)
    elif spec.policy.placement is Placement.HIDDEN:
        labels.add(COPIES_HIDDEN)
    if wish.simulated:
        labels.add("simulated: true")
    return tuple(sorted(labels))


def check_price(price: Quote, most: int | None) -> None:
    """Check a price against the most that the buyer allows, in wei.

    Raises:
        PriceError: it is higher.
    """
    if most is not None and price.total > most:
        raise PriceError(f"the order locks {price.total} wei, --max-price allows {most}: nothing was locked")


def preparations(spec: JobSpec, wish: Wish, identity: Identity, view: View) -> tuple[Draft, ...]:
    """Return what must stand in the log before the order: registrations, bonds, and play money for both sides."""
    drafts: list[Draft] = []
    counts, faucet, buyer = layout(spec), identity.faucet(), identity.account(wish.account)
    for seat, place in enumerate(spec.pool if wish.local else ()):
        key = identity.worker(wish.operators, seat)
        known = view.get(node_key(place.worker))
        node = known if isinstance(known, Node) else None
        if node is None or (node.simulated and not spec.simulated and node.locked == "0"):
            drafts.append(Draft(key, _registration(identity, spec, wish.operators, seat)))
        free = 0 if node is None else int(node.bond) - int(node.locked)
        short = exposure(spec, counts, seat) - free
        if short > 0:
            drafts.append(Draft(faucet, say.Transfer(key.address, str(short))))
            drafts.append(Draft(key, say.StakeDeposited(str(short))))
    account = view.get(account_key(buyer.address))
    balance = int(account.balance) if isinstance(account, Account) else 0
    short = quote(spec).total - balance
    if short > 0:
        drafts.append(Draft(faucet, say.Transfer(buyer.address, str(short))))
    return tuple(drafts)


def _registration(identity: Identity, spec: JobSpec, operators: int, seat: int) -> say.NodeRegistered:
    operator, payout = identity.operator(operators, seat), identity.payout(operators, seat)
    consent = identity.consent(operator, identity.worker(operators, seat), spec.chain_id, payout)
    return say.NodeRegistered(
        operator=operator.public.hex(),
        operator_signature=consent.hex(),
        payout=payout,
        tier=say.Tier.DECLARED,
        backend=BACKEND,
        simulated=spec.simulated,
    )


def order_drafts(spec: JobSpec, requester: SigningKey, commitments: tuple[bytes, bytes], now: int) -> tuple[Draft, ...]:
    """Return the escrow and the order, which enter the log together; commitments are the coordinator's, the buyer's."""
    price = quote(spec)
    assign, buyer = commitments
    return (
        Draft(
            requester,
            say.EscrowLocked(
                job_id=spec.job_id,
                attempt=spec.attempt,
                work=str(price.work),
                duplicates=str(price.duplicates),
                audits=str(price.audits),
                reserve=str(price.reserve),
            ),
        ),
        Draft(requester, say.JobSubmitted(spec, assign.hex(), buyer.hex(), now)),
    )
