"""`tally verify` with real files: PNG, content credentials, bundle and trust file, whole and damaged."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
import typer
from typer.testing import CliRunner, Result

from tallystick.adapters.c2pa import ContentCredentials
from tallystick.adapters.certificates import CertificateChain, issue_chain
from tallystick.adapters.png import write_png
from tallystick.anchoring.claims import JobClaim
from tallystick.audit import bundle as bundles
from tallystick.audit import trust as trusts
from tallystick.cli.verify import verify
from tallystick.job import TaskType
from tallystick.kernels.raster import Raster
from tallystick.ledger.genesis import chain_id
from tests.audit_world import Ledger, Played, Wish, enrolled, play, secret

APP = typer.Typer()
APP.command()(verify)


@dataclass(frozen=True)
class Folder:
    """What a buyer has after a job, and the root to trust."""

    path: Path
    played: Played

    @property
    def output(self) -> Path:
        return self.path / "photo@2x.png"

    @property
    def bundle(self) -> Path:
        return self.path / "photo@2x.png.bundle.json"

    @property
    def sidecar(self) -> Path:
        return self.path / "photo@2x.png.c2pa"

    @property
    def source(self) -> Path:
        return self.path / "photo.png"

    @property
    def trust(self) -> Path:
        return self.path / "trust.toml"

    def run(self, *arguments: object) -> Result:
        return CliRunner().invoke(APP, [*map(str, arguments), "--trust", str(self.trust)])


def chain() -> CertificateChain:
    return issue_chain(secret("root"), secret("leaf"), 1_700_000_000_000, "Tallystick test")


def png(raster: Raster) -> bytes:
    data = io.BytesIO()
    write_png(data, raster)
    return data.getvalue()


def signed(folder: Path, raster: Raster, claim: dict[str, object]) -> tuple[bytes, bytes]:
    """Embed credentials in the picture, and sign a sidecar over the result."""
    signer = ContentCredentials(chain().chain_pem, chain().sign)
    job = JobClaim(
        job_id=str(claim["jobId"]),
        chain_id=str(claim["chainId"]),
        completed_nid=str(claim["completedNid"]),
        task_type=TaskType.IMAGE_UPSCALING,
        kernel=str(claim["kernel"]),
        workers=3,
        software_version="0",
        simulated=False,
        title="photo@2x.png",
    )
    plain, output = folder / "plain.png", folder / "photo@2x.png"
    plain.write_bytes(png(raster))
    ingredient = ("input", "image/png", plain)
    signer.sign_embedded(plain, output, "image/png", job, ingredient)
    return output.read_bytes(), signer.sign_sidecar(output, job, ingredient)


def lay_out(path: Path, ledger: Ledger | None = None, job_id: str = "job-1") -> Folder:
    wish = Wish(job_id=job_id, lies={1: "forge"}, publish=lambda raster, claim: signed(path, raster, claim))
    folder = Folder(path, play(wish, ledger))
    played = folder.played
    folder.bundle.write_bytes(bundles.spell(played.bundle))
    folder.sidecar.write_bytes(played.sidecar)
    folder.source.write_bytes(png(played.source))
    pins = msgspec.structs.replace(played.trust, c2pa=trusts.CredentialPin(chain().root_pem))
    folder.trust.write_bytes(trusts.spell(pins))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return lay_out(tmp_path_factory.mktemp("job"))


@pytest.fixture
def copy(folder: Folder, tmp_path: Path) -> Folder:
    """The same files, to be damaged."""
    for each in (folder.output, folder.bundle, folder.sidecar, folder.source, folder.trust):
        (tmp_path / each.name).write_bytes(each.read_bytes())
    return Folder(tmp_path, folder.played)


def one_line(done: Result) -> None:
    assert done.exit_code == 2, done.output
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("cannot tell: ")


def test_everything_shown_holds(folder: Folder) -> None:
    done = folder.run(folder.bundle, folder.output, folder.sidecar, folder.source, "--recompute")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert len(lines) == 22
    assert lines[0].startswith("[ 1/21] holds          bundle: ")
    assert lines[18].startswith("[19/21] note           anchor: not anchored: `tally anchor`, then `tally bundle ")
    assert lines[-1] == "holds"
    assert done.stderr == ""


def test_the_order_of_the_paths_does_not_matter(folder: Folder) -> None:
    done = folder.run(folder.source, folder.sidecar, folder.output, folder.bundle, "--recompute")
    assert done.exit_code == 0, done.output


def test_the_output_alone_finds_its_bundle_and_sidecar(folder: Folder) -> None:
    done = folder.run(folder.output)
    assert done.exit_code == 0, done.output
    assert "embedded credentials and sidecar are Trusted" in done.stdout


def test_the_bundle_alone_holds_and_says_what_was_not_shown(folder: Folder) -> None:
    done = folder.run(folder.bundle)
    assert done.exit_code == 0
    assert "[16/21] note           output: output not shown" in done.stdout


def test_json_is_spelled_as_others_rely_on(folder: Folder) -> None:
    done = folder.run(folder.output, "--json")
    answer = json.loads(done.stdout)
    assert answer["result"] == "holds"
    assert [each["step"] for each in answer["findings"]] == list(range(1, 22))


def test_what_does_not_hold_exits_1_and_names_the_step(copy: Folder) -> None:
    data = bytearray(copy.output.read_bytes())
    data[-20] ^= 1
    copy.output.write_bytes(data)
    done = copy.run(copy.output)
    assert done.exit_code == 1
    assert "[16/21] does not hold  output: expected SHA-256 of the delivered file: " in done.stdout
    assert done.stdout.splitlines()[-1] == "does not hold (step 16, 18)"
    assert json.loads(copy.run(copy.output, "--json").stdout)["result"] == "does-not-hold"


@pytest.mark.parametrize("name", ["output", "sidecar", "bundle"])
def test_no_flipped_byte_of_the_three_exits_0(copy: Folder, name: str) -> None:
    path = getattr(copy, name)
    data = path.read_bytes()
    for position in (*range(12), *range(12, len(data), len(data) // 40), len(data) - 1):
        for mask in (0x01, 0x80):
            flipped = bytearray(data)
            flipped[position] ^= mask
            path.write_bytes(flipped)
            done = copy.run(copy.bundle, copy.output, copy.sidecar)
            assert done.exit_code in {1, 2}, position
            assert done.exception is None or isinstance(done.exception, SystemExit)


def test_without_a_bundle_it_cannot_tell(copy: Folder) -> None:
    copy.bundle.unlink()
    one_line(copy.run(copy.output))
    one_line(copy.run(copy.sidecar))


def test_recomputing_needs_the_input(folder: Folder) -> None:
    done = folder.run(folder.bundle, folder.output, folder.sidecar, "--recompute")
    assert done.exit_code == 2
    assert done.stdout.splitlines()[-1] == "cannot tell (step 21)"


@pytest.mark.parametrize("more", [[], ["--recompute"]])
def test_the_input_in_the_place_of_the_output_does_not_hold(copy: Folder, more: list[str]) -> None:
    copy.output.write_bytes(copy.source.read_bytes())
    assert copy.run(copy.output, *more).exit_code == 1
    assert copy.run(copy.bundle, copy.output, *more).exit_code == 1
    assert copy.run(copy.bundle, copy.output, copy.source, *more).exit_code == 1


def test_the_input_alone_is_no_output(copy: Folder) -> None:
    assert copy.run(copy.bundle, copy.source).exit_code == 1
    assert copy.run(copy.bundle, copy.source, "--recompute").exit_code == 0


def test_files_may_have_other_names(copy: Folder) -> None:
    names = (copy.output, copy.bundle, copy.sidecar, copy.source)
    moved = [each.rename(copy.path / str(number)) for number, each in enumerate(names)]
    done = copy.run(*moved, "--recompute")
    assert done.exit_code == 0, done.output
    flipped = bytearray(moved[0].read_bytes())
    flipped[-1] ^= 1
    moved[0].write_bytes(flipped)
    assert copy.run(*moved, "--recompute").exit_code == 1


def test_two_pictures_for_one_cannot_be_told(copy: Folder) -> None:
    other = copy.path / "other.png"
    other.write_bytes(copy.output.read_bytes() + b"\x00")
    one_line(copy.run(copy.bundle, copy.output, other))
    other.write_bytes(copy.source.read_bytes())
    one_line(copy.run(copy.bundle, copy.source, other, "--recompute"))


def test_several_bundles_are_verified_each(folder: Folder, tmp_path: Path) -> None:
    other = lay_out(tmp_path, enrolled(Wish()), "job-2")
    done = folder.run(folder.bundle, other.bundle, folder.output, other.sidecar, other.output)
    assert done.exit_code == 0, done.output
    assert [line for line in done.stdout.splitlines() if line == "holds"] == ["holds", "holds"]
    documents = [json.loads(line) for line in folder.run(folder.bundle, other.bundle, "--json").stdout.splitlines()]
    assert [each["result"] for each in documents] == ["holds", "holds"]
    assert [each["path"] for each in documents] == [str(folder.bundle), str(other.bundle)]


def test_every_document_of_several_names_its_file_in_the_order_given(copy: Folder, folder: Folder) -> None:
    copy.bundle.write_bytes(b"{}")
    for first, second in ((copy, folder), (folder, copy)):
        done = folder.run(first.bundle, second.bundle, "--json")
        documents = [json.loads(line) for line in done.stdout.splitlines()]
        assert [sorted(each) for each in documents] == [["findings", "path", "result"]] * 2
        assert [each["path"] for each in documents] == [str(first.bundle), str(second.bundle)]
        assert f"cannot tell: {copy.bundle}: bundle" in done.stderr
    assert sorted(json.loads(folder.run(copy.bundle, "--json").stdout)) == ["findings", "result"]


def test_a_malformed_value_inside_is_answered_as_a_malformed_bundle(copy: Folder) -> None:
    address = copy.played.bundle.genesis.allocations[0].address
    broken = address[:-1] + ("q" if address[-1] != "q" else "p")
    copy.bundle.write_bytes(copy.bundle.read_bytes().replace(address.encode(), broken.encode()))
    done = copy.run(copy.bundle)
    one_line(done)
    assert "bundle cannot be read: address cannot be read: the checksum of " in done.stderr
    answer = json.loads(copy.run(copy.bundle, "--json").stdout)
    assert answer["result"] == "cannot-tell"
    assert [each["name"] for each in answer["findings"]] == ["bundle"]


def test_a_bundle_of_another_ledger_gets_a_hint_where_no_trust_was_given(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TALLY_HOME", str(tmp_path))
    pins = msgspec.structs.replace(folder.played.trust, chain_id="tally-dev-0000000000000000", c2pa=None)
    (tmp_path / "trust.toml").write_bytes(trusts.spell(pins))
    done = CliRunner().invoke(APP, [str(folder.bundle)])
    assert done.exit_code == 1
    hint = f"this bundle is of another ledger ({chain_id(folder.played.bundle.genesis)}) than this home's: give its "
    assert done.stderr == f"{hint}trust file with --trust\n"
    pinned = CliRunner().invoke(APP, [str(folder.bundle), "--trust", str(tmp_path / "trust.toml")])
    assert (pinned.exit_code, pinned.stderr) == (1, "")


def test_steps_that_were_not_looked_at_are_one_line_for_people(copy: Folder) -> None:
    pins = msgspec.structs.replace(copy.played.trust, chain_id="tally-dev-0000000000000000")
    copy.trust.write_bytes(trusts.spell(pins))
    lines = copy.run(copy.bundle).stdout.splitlines()
    assert lines[3] == "[ 4-21/21] cannot tell    not looked at, because of step 2"
    assert len([line for line in lines if "not looked at" in line]) == 1
    findings = json.loads(copy.run(copy.bundle, "--json").stdout)["findings"]
    assert [each["step"] for each in findings] == list(range(1, 22))


def test_one_bad_bundle_among_several_decides(copy: Folder, folder: Folder) -> None:
    verdicts = folder.played.bundle.verdicts[:-1]
    copy.bundle.write_bytes(bundles.spell(msgspec.structs.replace(folder.played.bundle, verdicts=verdicts)))
    assert folder.run(folder.bundle, copy.bundle).exit_code == 1
    copy.bundle.write_bytes(b"{}")
    done = folder.run(folder.bundle, copy.bundle)
    assert done.exit_code == 2
    assert done.stdout.splitlines()[-1] == "holds"
    assert done.stderr.count("\n") == 1


def test_a_file_that_belongs_to_none_of_several_bundles_cannot_be_told(copy: Folder, folder: Folder) -> None:
    stranger = copy.path / "stranger.png"
    stranger.write_bytes(b"\x89PNG")
    assert folder.run(folder.bundle, copy.bundle, stranger).exit_code == 2


MALFORMED = {
    "empty": b"",
    "not json": b"\x00\x01\x02",
    "text": b"hello\n",
    "truncated": b'{"attempt":1,"checkpoint":"',
    "duplicate keys": b'{"attempt":1,"attempt":1}',
    "no fields": b"{}",
    "deep lists": b"[" * 1_000_000,
    "deep objects": b'{"a":' * 200_000,
    "utf-16": '{"attempt":1}'.encode("utf-16"),
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
def test_what_is_no_bundle_exits_2_with_one_line(copy: Folder, data: bytes) -> None:
    copy.bundle.write_bytes(data)
    one_line(copy.run(copy.bundle))
    one_line(copy.run(copy.output))
    answer = json.loads(copy.run(copy.bundle, "--json").stdout)
    assert answer["result"] == "cannot-tell"
    assert [each["result"] for each in answer["findings"]] == ["cannot-tell"]


def test_a_huge_file_exits_2_without_being_read(copy: Folder) -> None:
    with copy.bundle.open("wb") as file:
        file.truncate(1 << 40)
    one_line(copy.run(copy.bundle))


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_trust_file_exits_2_with_one_line(copy: Folder, data: bytes) -> None:
    copy.trust.write_bytes(data)
    one_line(copy.run(copy.bundle))


def test_what_cannot_be_read_exits_2_with_one_line(copy: Folder) -> None:
    one_line(copy.run(copy.path / "nowhere.bundle.json"))
    one_line(copy.run(copy.path))
    one_line(copy.run("/dev/zero"))
    copy.trust.unlink()
    one_line(copy.run(copy.bundle))


def test_without_trust_it_takes_the_keys_of_this_home_and_says_so(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TALLY_HOME", str(tmp_path))
    one_line(CliRunner().invoke(APP, [str(folder.bundle)]))
    (tmp_path / "trust.toml").write_bytes(folder.trust.read_bytes())
    done = CliRunner().invoke(APP, [str(folder.bundle)])
    assert done.exit_code == 0
    assert done.stdout.splitlines()[0] == f"pinned keys: this home's own, {tmp_path / 'trust.toml'}"
    quiet = CliRunner().invoke(APP, [str(folder.bundle), "--json"])
    assert json.loads(quiet.stdout)["result"] == "holds"


def test_without_a_pinned_root_credentials_cannot_be_told(copy: Folder) -> None:
    copy.trust.write_bytes(trusts.spell(copy.played.trust))
    assert copy.run(copy.output).exit_code == 2
    assert copy.run(copy.bundle).exit_code == 0


def test_credentials_under_another_root_do_not_hold(copy: Folder) -> None:
    other = issue_chain(secret("other root"), secret("leaf"), 1_700_000_000_000, "Tallystick test")
    pins = msgspec.structs.replace(copy.played.trust, c2pa=trusts.CredentialPin(other.root_pem))
    copy.trust.write_bytes(trusts.spell(pins))
    done = copy.run(copy.output)
    assert done.exit_code == 1
    assert done.stdout.splitlines()[-1] == "does not hold (step 18)"
