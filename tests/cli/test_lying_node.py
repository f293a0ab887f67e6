"""A node that gives other files than it proved: nobody is told that the order is done."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from tallystick.adapters.pillow import decode_image
from tallystick.cli.asking import Words, ask
from tallystick.cli.far_files import check_asked
from tallystick.errors import VerificationError
from tallystick.kernels.raster import raster_digest
from tallystick.primitives.canonical import encode
from tests.cli.runs import picture, tally
from tests.machines import working
from tests.node_process import serving
from tests.orders import make_order

SMALL = ("--block", "16")


def test_files_that_do_not_hold_are_not_called_done(tmp_path: Path) -> None:
    source = picture(tmp_path / "photo.png")
    with serving(tmp_path / "node") as node, working(tmp_path, node.url, 2):
        words = ("submit", "upscale", source, *SMALL, "--node", node.url, "--yes", "--json")
        job = tally(*words, cwd=tmp_path).json["jobId"]
        again = ("watch", job, "--node", node.url, "--json")
        assert tally(*again, "--out", "good.png", cwd=tmp_path).code == 0
        delivered = next((tmp_path / "node" / "outputs" / job).glob("*.png"))
        with Image.open(delivered) as shown:
            other = shown.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        other.save(delivered)
        told = tally(*again, "--out", "bad.png", cwd=tmp_path)
        assert told.code == 1, told
        assert "do not use" in told.err
        bundle = Path(f"{delivered}.bundle.json")
        whole = json.loads(bundle.read_bytes())
        spoiled = whole | {"entries": whole["entries"][1:]}
        bundle.write_bytes(encode(spoiled))
        told = tally(*again, "--out", "bad.png", cwd=tmp_path)
        assert told.code == 1, told


def test_a_finished_order_over_another_picture_is_not_the_buyers(tmp_path: Path) -> None:
    """Everything about it holds, and still it is no answer to what was asked."""
    source, other = picture(tmp_path / "photo.png"), picture(tmp_path / "other.png", 50, 30)
    with serving(tmp_path / "node") as node, working(tmp_path, node.url, 2):
        words = (*SMALL, "--node", node.url, "--yes", "--json")
        first, second = (
            tally("submit", "upscale", each, *words, cwd=tmp_path).json["jobId"] for each in (source, other)
        )
        folders = tmp_path / "node" / "outputs"
        assert first != second
        for path in folders.joinpath(first).iterdir():
            path.unlink()
        for path in folders.joinpath(second).iterdir():
            name = path.name.replace("other@2x", "photo@2x")
            folders.joinpath(first, name).write_bytes(path.read_bytes())
        told = tally("watch", first, "--node", node.url, "--json", "--out", "bad.png", cwd=tmp_path)
        assert told.code == 1, told
        assert "job of the node's bundle" in told.err


@pytest.mark.parametrize(("scale", "seed", "what"), [("3", 1, "scale"), ("2", 2, "picture")])
def test_an_answer_to_another_question_is_refused(tmp_path: Path, scale: str, seed: int, what: str) -> None:
    asked = ask(words_of(picture(tmp_path / "mine.png", 30, 20), "2"), 0)
    theirs = decode_image(picture(tmp_path / "theirs.png", 30 * seed, 20).read_bytes()).raster
    spec = make_order(scale=scale, source_width=32, source_height=32)
    ended = SimpleNamespace(spec=spec, source=raster_digest(theirs).hex(), output=str(tmp_path / "out.png"))
    with pytest.raises(VerificationError, match=what):
        check_asked(ended, asked)  # type: ignore[arg-type]


def words_of(source: Path, scale: str) -> Words:
    """The options of an order as they were typed."""
    typed = dict.fromkeys(each.name for each in fields(Words)) | {
        "input": source,
        "scale": scale,
        "workers": 3,
        "block": 16,
        "placement": "spread",
    }
    return Words(**typed)  # type: ignore[arg-type]
