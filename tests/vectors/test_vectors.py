"""Every golden vector is read from its file and raises exactly the error it names."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest

from tallystick import errors
from tallystick.job import JobSpec, Seat
from tallystick.ledger import transactions
from tallystick.primitives.canonical import Count, decode, encode
from tallystick.primitives.merkle import check_consistency, check_inclusion
from tallystick.primitives.notes import Checkpoint, NoteVerifier, open_cosigned
from tallystick.slicing import Layout, MicroJob, Move, Plan, Slot, plan
from tallystick.verification.separation import check_recomputed

VECTORS = Path(__file__).resolve().parents[2] / "vectors"


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    alpha: str
    many: tuple[Count, ...]
    zeta: Count


def read_canonical(given: dict[str, Any]) -> None:
    data = bytes.fromhex(given["hex"])
    value = decode(data, Record if given["type"] == "record" else object, what="vector", bytes_max=given["bytes_max"])
    assert encode(value) == data


def read_inclusion(given: dict[str, Any]) -> None:
    proof = [bytes.fromhex(value) for value in given["proof"]]
    leaf, top = bytes.fromhex(given["leaf"]), bytes.fromhex(given["root"])
    check_inclusion(leaf, given["index"], given["size"], proof, top)


def read_consistency(given: dict[str, Any]) -> None:
    proof = [bytes.fromhex(value) for value in given["proof"]]
    old_root, new_root = bytes.fromhex(given["old_root"]), bytes.fromhex(given["new_root"])
    check_consistency(given["old_size"], given["new_size"], proof, old_root, new_root)


def read_note(given: dict[str, Any]) -> None:
    open_cosigned(given["note"], [NoteVerifier.parse(vkey) for vkey in given["verifiers"]])


def read_checkpoint(given: dict[str, Any]) -> None:
    assert Checkpoint.parse(given["text"]).text() == given["text"]


def read_plan(given: dict[str, Any]) -> None:
    spec = decode(json.dumps(given["spec"], separators=(",", ":")).encode(), JobSpec, what="order")
    drawn = plan(spec, bytes.fromhex(given["seed"]))
    actual = [
        {"seat": each.seat, "slots": [[slot.block, int(slot.copy)] for slot in each.slots]} for each in drawn.microjobs
    ]
    stated = given["microjobs"], given["referee_copies"]
    if stated != (actual, list(drawn.referee_copies)):
        raise errors.VerificationError("plan", expected=actual, actual=given["microjobs"])


def read_reassigned(given: dict[str, Any]) -> None:
    transaction = transactions.decode(bytes.fromhex(given["hex"]))
    transactions.check_signed(transaction)
    assert transaction.type == "MicroJobReassigned"


def read_separation(given: dict[str, Any]) -> None:
    pool = tuple(Seat("", operator) for operator in given["operators"])
    seen: set[int] = set()
    microjobs = []
    for index, each in enumerate(given["microjobs"]):
        slots = tuple(Slot(block, copy=block in seen) for block in each["blocks"])
        seen.update(each["blocks"])
        microjobs.append(MicroJob(index, 0, each["seat"], slots))
    drawn = Plan(Layout(1, 1, 0, 0, 1, len(microjobs)), tuple(microjobs), ())
    void = check_recomputed(pool, drawn, [Move(*move) for move in given["moves"]], given["recomputed"])
    if sorted(void) != given["void"]:
        raise errors.VerificationError("void pairs", expected=sorted(void), actual=given["void"])


READERS: dict[str, Callable[[dict[str, Any]], None]] = {
    "canonical-json": read_canonical,
    "inclusion-proof": read_inclusion,
    "consistency-proof": read_consistency,
    "signed-note": read_note,
    "checkpoint": read_checkpoint,
    "plan": read_plan,
    "reassigned": read_reassigned,
    "separation": read_separation,
}
FILES = sorted(path for folder in READERS for path in (VECTORS / folder).glob("*.json"))


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("vectors_generate", VECTORS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_vector_raises_exactly_what_it_names(path: Path) -> None:
    vector = json.loads(path.read_text(encoding="utf-8"))
    read = READERS[path.parent.name]
    if vector["error"] is None:
        read(vector["input"])
        return
    with pytest.raises(errors.TallyError) as caught:
        read(vector["input"])
    assert type(caught.value) is getattr(errors, vector["error"]), f"{vector['desc']}: {caught.value}"


def test_the_files_are_what_the_generator_writes() -> None:
    wanted = generator().files()
    found = {str(path.relative_to(VECTORS)): path.read_text(encoding="utf-8") for path in FILES}
    assert found.keys() == wanted.keys()
    for name, text in wanted.items():
        assert found[name] == text, f"{name} differs: run vectors/generate.py"


def test_every_folder_has_good_and_mostly_hostile_vectors() -> None:
    for folder in READERS:
        named = [json.loads(path.read_text())["error"] for path in FILES if path.parent.name == folder]
        assert named.count(None) >= 1
        assert len(named) - named.count(None) > 2 * named.count(None)


def test_no_two_vectors_of_a_folder_are_the_same() -> None:
    seen = {(path.parent.name, json.dumps(json.loads(path.read_text())["input"])): path for path in FILES}
    assert len(seen) == len(FILES)
