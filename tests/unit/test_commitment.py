import pytest

from tallystick import commitment
from tallystick.commitment import Opening, Output, Place
from tallystick.errors import CommitmentError, SignatureError
from tallystick.job import VerificationClass
from tallystick.primitives import canonical, merkle
from tallystick.primitives.digests import sha256, tagged, u32
from tests.orders import key

JOB = bytes(range(32))
WORKER = b"\x02" + bytes(range(1, 33))
PLACE = Place(JOB, 3, WORKER)
SECRET = b"\x11" * 32
HELLO = Output(sha256(b"hello"), 5, sha256(b"{}"))
EXACT = VerificationClass.EXACT


def leaves(count: int) -> list[bytes]:
    return [sha256(bytes([index])) for index in range(count)]


def test_the_leaf_and_its_salt_are_the_published_vectors() -> None:
    salt = commitment.leaf_salt(SECRET, JOB, 3, 7)
    assert salt.hex() == "d4c532524bcf346896321e71061b610e94defb9cd926c0e12a804d371a0506a6"
    assert len(commitment.leaf_preimage(PLACE, 7, salt, EXACT, HELLO)) == commitment.LEAF_BYTES == 197
    leaf = commitment.leaf_hash(PLACE, 7, salt, EXACT, HELLO)
    assert leaf.hex() == "4eae2af32134bc1130de9e4eff6a4b5f24bf85be462e399b626b637c70cf1dd3"


def test_the_leaves_of_a_micro_job_are_those_of_its_slots() -> None:
    place, law = Place(sha256(b"job"), 7, b"\x02" * 33), VerificationClass.EXACT
    salts = [sha256(b"salt", u32(slot)) for slot in range(5)]
    outputs = [Output(sha256(b"output", u32(slot)), slot, sha256(b"meta", u32(slot))) for slot in range(5)]
    one_by_one = [commitment.leaf_hash(place, slot, salts[slot], law, outputs[slot]) for slot in range(5)]
    assert commitment.leaf_hashes(place, salts, law, outputs) == one_by_one
    assert len(set(one_by_one)) == 5
    assert commitment.leaf_salts(SECRET, JOB, 3, 9)[7] == commitment.leaf_salt(SECRET, JOB, 3, 7)
    assert len(commitment.leaf_salts(SECRET, JOB, 3, 9)) == 9
    with pytest.raises(ValueError, match=r"longer|shorter"):
        commitment.leaf_hashes(place, salts, law, outputs[1:])


def test_compute_root_is_the_published_vector() -> None:
    result = {
        "task_id": "550e8400-e29b-41d4-a716-446655440000",
        "worker_address": "cpc19pup6qpkj492wau7jrnqlglrlskzuvs6ctfq9f",
        "result_hash": "ab" * 32,
        "proof": "",
        "nonce": 12345,
        "signature": "",
    }
    root = commitment.compute_root([canonical.encode(result)])
    assert root.hex() == "36c588478ea58b06e37d7aaf613e746270cc616d2ef6a532892dde320e5a1fe7"
    assert commitment.compute_root([]) == sha256(b"")


@pytest.mark.parametrize(
    "other",
    [
        (Place(sha256(b"job"), 3, WORKER), 7, SECRET, EXACT, HELLO),
        (Place(JOB, 4, WORKER), 7, SECRET, EXACT, HELLO),
        (Place(JOB, 3, b"\x03" + WORKER[1:]), 7, SECRET, EXACT, HELLO),
        (PLACE, 8, SECRET, EXACT, HELLO),
        (PLACE, 7, bytes(32), EXACT, HELLO),
        (PLACE, 7, SECRET, VerificationClass.TOLERANT, HELLO),
        (PLACE, 7, SECRET, EXACT, Output(sha256(b"other"), 5, HELLO.meta)),
        (PLACE, 7, SECRET, EXACT, Output(HELLO.digest, 6, HELLO.meta)),
        (PLACE, 7, SECRET, EXACT, Output(HELLO.digest, 5, sha256(b"[]"))),
    ],
)
def test_every_field_of_a_leaf_binds(other: tuple[Place, int, bytes, VerificationClass, Output]) -> None:
    assert commitment.leaf_hash(*other) != commitment.leaf_hash(PLACE, 7, SECRET, EXACT, HELLO)
    opening = Opening(SECRET, commitment.leaf_hash(PLACE, 7, SECRET, EXACT, HELLO))
    commitment.check_leaf(PLACE, 7, opening, EXACT, HELLO)
    place, slot, salt, law, output = other
    with pytest.raises(CommitmentError, match=f"leaf of micro job {place.microjob} slot {slot}") as caught:
        commitment.check_leaf(place, slot, Opening(salt, opening.leaf), law, output)
    assert caught.value.expected == opening.leaf.hex()


def test_a_worker_repeats_its_salts_after_a_restart_and_for_nobody_else() -> None:
    secret = commitment.worker_secret(b"k" * 32, JOB)
    assert secret == commitment.worker_secret(b"k" * 32, JOB)
    assert len({secret, commitment.worker_secret(b"l" * 32, JOB), commitment.worker_secret(b"k" * 32, bytes(32))}) == 3
    salts = {commitment.leaf_salt(secret, JOB, microjob, slot) for microjob in range(3) for slot in range(3)}
    assert len(salts) == 9


def test_a_signed_root_holds_and_every_changed_field_is_refused() -> None:
    signed = commitment.commit(key("w"), JOB, 3, bytes(32), leaves(5))
    commitment.check_commitment(signed)
    assert signed.root == merkle.root(leaves(5))
    assert signed.tree_size == 5
    other = key("other").public
    for changed in (
        commitment.Commitment(Place(JOB, 4, signed.place.worker), 5, signed.class_id, signed.root, signed.signature),
        commitment.Commitment(Place(JOB, 3, other), 5, signed.class_id, signed.root, signed.signature),
        commitment.Commitment(Place(bytes(32), 3, signed.place.worker), 5, bytes(32), signed.root, signed.signature),
        commitment.Commitment(signed.place, 6, signed.class_id, signed.root, signed.signature),
        commitment.Commitment(signed.place, 5, b"\1" * 32, signed.root, signed.signature),
        commitment.Commitment(signed.place, 5, signed.class_id, bytes(32), signed.signature),
        commitment.Commitment(signed.place, 5, signed.class_id, signed.root, bytes(64)),
    ):
        with pytest.raises(SignatureError):
            commitment.check_commitment(changed)


def test_openings_must_be_all_of_them_and_give_the_root() -> None:
    signed = commitment.commit(key("w"), JOB, 3, bytes(32), leaves(3))
    opened = [Opening(bytes(32), leaf) for leaf in leaves(3)]
    commitment.check_openings(signed, opened)
    with pytest.raises(CommitmentError, match="expected 3 leaves, actual 2 leaves"):
        commitment.check_openings(signed, opened[:2])
    with pytest.raises(CommitmentError, match="micro job 3") as caught:
        commitment.check_openings(signed, [opened[1], opened[0], opened[2]])
    assert caught.value.expected == signed.root.hex()


def test_a_missing_root_counts_as_zeros_in_the_roots_root() -> None:
    one, two = leaves(2)
    assert commitment.roots_root([one, None, two]) == commitment.compute_root([one, bytes(32), two])
    assert commitment.roots_root([one, None]) != commitment.roots_root([one])
    assert commitment.roots_root([one, two]) != commitment.roots_root([two, one])


def test_the_two_secrets_are_committed_apart() -> None:
    secret = sha256(b"secret")
    assert commitment.assign_commitment(JOB, secret) == sha256(b"tallystick/assign-secret/v1\n", JOB, secret)
    assert commitment.buyer_commitment(JOB, secret) == sha256(b"tallystick/buyer-secret/v1\n", JOB, secret)


def test_assignments_are_salted_and_ordered() -> None:
    secret, (one, two) = sha256(b"secret"), leaves(2)
    first = commitment.assignment_commitment(JOB, secret, 0, one)
    assert first != tagged(commitment.Tag.ASSIGNMENT, JOB, u32(0), one, bytes(32))
    assert first != commitment.assignment_commitment(JOB, secret, 1, one)
    assert first != commitment.assignment_commitment(JOB, bytes(32), 0, one)
    both = [first, commitment.assignment_commitment(JOB, secret, 1, two)]
    assert commitment.assignments_root(JOB, secret, [one, two]) == commitment.compute_root(both)


def test_meta_names_backend_and_kernel_and_no_clock() -> None:
    assert commitment.meta_digest("numpy", "k") == sha256(b'{"backend":"numpy","kernel":"k"}')
