"""From the words of a command line to a wish: rates, scales and paths, each refused with what to write instead.

Nothing is locked, made or changed here, so whatever is wrong costs nothing.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Final

from tallystick.cli.exits import one_line
from tallystick.errors import MalformedError, TooLargeError, UsageError
from tallystick.job import PPM, Placement, parse_scale
from tallystick.node.delivery import bundle_path, sidecar_path
from tallystick.node.ordering import DEFAULT_AUDIT, DEFAULT_DUPLICATES, Wish
from tallystick.primitives.amounts import Wei, format_cpc, parse_cpc
from tallystick.primitives.digests import sha256

OUTPUT_SUFFIX: Final = ".png"
INPUT_BYTES_MAX: Final = 2 << 30
DUPLICATES_OPTION: Final = "--duplicates"
_RATE: Final = re.compile(r"(?:[0-9]{1,9}(?:\.[0-9]{0,18})?|\.[0-9]{1,18})")
_SCALE: Final = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9}|/[0-9]{1,9})?")
_DECIMALS_MAX: Final = 6
_NAME_LETTERS: Final = "23456789abcdefghjkmnpqrstvwxyz"
_NAME_SIZE: Final = 8


@dataclass(frozen=True, slots=True)
class Asked:
    """What the buyer asked for, with the input's bytes and the most it may cost."""

    wish: Wish
    data: bytes = field(repr=False)
    price_max: Wei | None


@dataclass(frozen=True, slots=True)
class Words:
    """The options of `submit upscale` as they were typed."""

    input: Path
    scale: str
    out: Path | None
    workers: int
    block: int
    placement: str
    duplicates: str | None
    audit_rate: str | None
    max_price: str | None
    own_key: bool = False
    """Whether this home's own key signs an order at a node elsewhere."""
    minutes: int | None = None
    """How long workers of a node have."""
    workers_least: int | None = None
    """How many workers must fit before a node begins."""


def ask(words: Words, created: int) -> Asked:
    """Read the options and the input file.

    Raises:
        UsageError: an option, the input or the output's place cannot be used.
        TooLargeError: the input file is larger than 2 GiB.
    """
    scale = read_scale(words.scale)
    price_max = None if words.max_price is None else amount(words.max_price, "--max-price")
    placement = _placement(words.placement)
    audit = DEFAULT_AUDIT if words.audit_rate is None else rate(words.audit_rate, "--audit-rate")
    duplicates = None if words.duplicates is None else rate(words.duplicates, DUPLICATES_OPTION)
    if placement is Placement.HIDDEN and duplicates:
        raise UsageError(
            f"{DUPLICATES_OPTION} goes with --placement spread: how many copies a hidden one has follows from the grid"
        )
    data = read_input(words.input)
    output = place(words.input, words.out, scale)
    wish = Wish(
        job_id=new_job_id(),
        input=sha256(data).hex(),
        input_name=one_line(words.input.name),
        output_path=str(output),
        scale=words.scale,
        created=created,
        block=words.block,
        workers=words.workers,
        placement=placement,
        duplicates=duplicates,
        audit=audit,
    )
    return Asked(wish, data, price_max)


def new_job_id() -> str:
    """Return a name for a job: unguessable enough to be unique, short enough to be typed."""
    return "up-" + "".join(secrets.choice(_NAME_LETTERS) for _ in range(_NAME_SIZE))


def rate(text: str, option: str) -> int:
    """Read a rate between 0 and 1 as parts per million, exactly.

    Raises:
        UsageError: it is no such number, or finer than a millionth.
    """
    usual = format_cpc(Wei((DEFAULT_DUPLICATES if option == DUPLICATES_OPTION else DEFAULT_AUDIT) * 10**12))
    if _RATE.fullmatch(text) is None:
        raise UsageError(f"{option} {text!r} is not a number: write a rate between 0 and 1, such as {usual}")
    parts = Fraction(text) * PPM
    if not 0 <= parts <= PPM:
        raise UsageError(f"{option} {text} is out of range: write a rate between 0 and 1, such as {usual}")
    if parts.denominator != 1:
        raise UsageError(f"{option} {text} is too fine: at most {_DECIMALS_MAX} decimals count")
    return int(parts)


def read_scale(text: str) -> Fraction:
    """Read ``2``, ``1.5`` or ``3/2``, and nothing else that Python takes for a number.

    Raises:
        UsageError: it is none of these, or out of range.
    """
    if _SCALE.fullmatch(text) is None:
        raise UsageError(f"--scale {text!r} is not a ratio: write 2, 1.5 or 3/2")
    return parse_scale(text)


def amount(text: str, option: str) -> Wei:
    """Read an amount in CPC.

    Raises:
        UsageError: it is none.
    """
    try:
        return parse_cpc(text)
    except MalformedError as error:
        raise UsageError(f"{option} {text!r} is no amount: write CPC such as 0.05, with at most 18 decimals") from error


def _placement(text: str) -> Placement:
    try:
        return Placement(text)
    except ValueError as error:
        known = " or ".join(each.value for each in Placement)
        raise UsageError(f"--placement {text!r} is unknown: write {known}") from error


def read_input(path: Path) -> bytes:
    """Read the input file.

    Raises:
        UsageError: it is not there, no file, or cannot be read.
        TooLargeError: it is larger than 2 GiB.
    """
    try:
        if path.is_dir():
            raise UsageError(f"{path} is a folder: name a picture file")
        if not path.exists():
            raise UsageError(f"{path} is not there")
        if not path.is_file():
            raise UsageError(f"{path} is no regular file: name a picture file")
        if path.stat().st_size > INPUT_BYTES_MAX:
            raise TooLargeError(str(path), f"{path.stat().st_size} bytes, the limit is {INPUT_BYTES_MAX}")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {_reason(error)}") from error


def place(source: Path, out: Path | None, scale: Fraction) -> Path:
    """Return the absolute path of the output: as asked for, or ``NAME@2x.png`` beside the input.

    Raises:
        UsageError: it is no PNG, cannot be written, or would overwrite the input or what somebody else put there.
    """
    target = source.with_name(f"{source.stem}@{spell_scale(scale)}x{OUTPUT_SUFFIX}") if out is None else out
    target = target_of(target)
    try:
        for path in _written(target):
            if path.exists() and path.samefile(source):
                raise UsageError(f"{path} is the input, which is never overwritten: name another file with --out")
        if out is None and target.exists() and not Path(bundle_path(str(target))).exists():
            raise UsageError(f"{target} is there already, and not from tally: name the output with --out")
    except OSError as error:
        raise UsageError(f"{target} cannot be written: {_reason(error)}") from error
    return target


def target_of(out: Path) -> Path:
    """Return the absolute path of an output that is named.

    Raises:
        UsageError: it is no PNG, or cannot be written.
    """
    if out.suffix.lower() != OUTPUT_SUFFIX:
        raise UsageError(f"--out {out}: the output is a PNG, so its name must end in {OUTPUT_SUFFIX}")
    target = out.expanduser().absolute()
    _check_text(target)
    try:
        _check_folder(target.parent)
        for path in _written(target):
            if path.is_dir():
                raise UsageError(f"{path} is a folder: name a file with --out")
            if path.exists() and not path.is_file():
                raise UsageError(f"{path} is no regular file: name another with --out")
    except OSError as error:
        raise UsageError(f"{target} cannot be written: {_reason(error)}") from error
    return target


def _written(target: Path) -> tuple[Path, ...]:
    """Return what is written with an output: itself, its sidecar, its bundle."""
    return target, Path(sidecar_path(str(target))), Path(bundle_path(str(target)))


def spell_scale(scale: Fraction) -> str:
    """Spell a scale for a file's name: ``2``, ``1.5``, and ``4-3`` where decimals do not end."""
    rest = scale.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    if rest != 1:
        return f"{scale.numerator}-{scale.denominator}"
    digits = f"{scale.numerator * 10**20 // scale.denominator:021d}"
    return f"{digits[:-20]}.{digits[-20:]}".rstrip("0").rstrip(".")


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise UsageError(f"the folder {folder} is not there: make it first")
    probe = folder / f".{new_job_id()}.tmp"
    try:
        probe.touch(exist_ok=False)
        probe.unlink()
    except OSError as error:
        raise UsageError(
            f"the folder {folder} cannot be written ({_reason(error)}): name another place with --out"
        ) from error


def _check_text(path: Path) -> None:
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise UsageError("the output's name is not UTF-8: name another with --out") from error


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
