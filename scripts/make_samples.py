"""Make docs/samples anew: a small photo, its upscale with evidence, a tampered copy of the evidence, the trust file.

Keys are made for the occasion and thrown away, so the files differ from run to run; what `tally verify` says does not.
Usage: python scripts/make_samples.py [FOLDER]
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from fractions import Fraction
from io import BytesIO
from pathlib import Path

from tallystick.adapters.pillow import decode_image
from tallystick.adapters.png import write_png
from tallystick.kernels.lanczos import resample, target_size
from tallystick.kernels.raster import Raster
from tallystick.primitives import canonical

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "src" / "tallystick" / "cli" / "picture.png"
SHRINK = Fraction(1, 5)


def make_photo(path: Path) -> None:
    """Shrink the bundled picture with the project's own kernel."""
    raster = decode_image(PICTURE.read_bytes()).raster
    size = (target_size(raster.width, SHRINK), target_size(raster.height, SHRINK))
    file = BytesIO()
    write_png(file, Raster(resample(raster.samples, size)))
    path.write_bytes(file.getvalue())


def tampered(bundle: bytes) -> bytes:
    """Give the first paid worker one wei more, in canonical spelling: only the audit can see it."""
    value = json.loads(bundle)
    settled = next(each["entry"] for each in value["entries"] if each["entry"]["type"] == "JobSettled")
    line = next(line for line in settled["payload"]["lines"] if line["amount"] != "0")
    line["amount"] = str(int(line["amount"]) + 1)
    return canonical.encode(value)


def tally(home: Path, *arguments: str) -> None:
    """Run the command line with a home of its own."""
    command = [sys.executable, "-m", "tallystick", *arguments]
    subprocess.run(command, check=True, env={**os.environ, "TALLY_HOME": str(home)}, stdout=subprocess.DEVNULL)


def main() -> None:
    """Write every file of the folder."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "samples"
    folder.mkdir(parents=True, exist_ok=True)
    photo, good = folder / "photo.png", folder / "good.png"
    make_photo(photo)
    with tempfile.TemporaryDirectory() as home:
        order = ("--scale", "2", "--block", "64", "--audit-rate", "1", "--out", str(good), "--yes")
        tally(Path(home), "submit", "upscale", str(photo), *order)
        (folder / "trust.toml").write_bytes((Path(home) / "trust.toml").read_bytes())
    bundle = folder / "good.png.bundle.json"
    (folder / "tampered.bundle.json").write_bytes(tampered(bundle.read_bytes()))


if __name__ == "__main__":
    main()
