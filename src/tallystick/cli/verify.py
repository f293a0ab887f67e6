"""`tally verify PATH…`: takes what was shown, a job's files or a whole log, and the pins; prints the numbered findings.

Exit 0 holds, 1 does not hold, 2 cannot tell: malformed, incomplete, or wrong usage. Takes no lock, and needs no network
unless it is told whom to ask.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from tallystick.cli.telling import BUNDLE, EXIT_CANNOT_TELL, EXIT_DOES_NOT_HOLD, EXIT_HOLDS, code, complain, show, tell
from tallystick.errors import MalformedError, TallyError, TooLargeError, UsageError

if TYPE_CHECKING:
    from tallystick.audit.anchors import Inquiry
    from tallystick.audit.bundle import Bundle
    from tallystick.audit.files import Credentials, Pictures
    from tallystick.audit.findings import Report
    from tallystick.audit.trust import Trust
    from tallystick.kernels.raster import Raster

    _Ask = Callable[[], Report | TallyError]

BUNDLE_SUFFIX: Final = ".bundle.json"
SIDECAR_SUFFIX: Final = ".c2pa"
PROOF_SUFFIX: Final = ".tlog-proof"
FILE_BYTES_MAX: Final = 2 << 30
OUTPUT_MIME: Final = "image/png"

_BOX_TYPE: Final = slice(4, 8)
_JUMBF: Final = b"jumb"


@dataclass(frozen=True, slots=True)
class _File:
    """One path with its bytes."""

    path: Path
    data: bytes = field(repr=False)


@dataclass(slots=True)
class _Pile:
    """What was shown, by kind."""

    bundles: list[_File] = field(default_factory=list)
    sidecars: list[_File] = field(default_factory=list)
    images: list[_File] = field(default_factory=list)
    proofs: list[_File] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Means:
    """What an audit is made with: the pins, whether blocks are run again, and the chain that is asked."""

    trust: Trust
    recompute: bool = False
    inquiry: Inquiry | None = None


@dataclass(frozen=True, slots=True)
class _Case:
    """One bundle and the files that belong to it."""

    file: _File
    bundle: Bundle
    pictures: Pictures
    sidecar: bytes | None


def verify(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATH",
            help="OUT alone, a bundle with any of OUT, its sidecar and INPUT, a .tlog-proof, or a log's folder.",
        ),
    ],
    trust: Annotated[
        Path | None, typer.Option("--trust", metavar="FILE", help="The pinned keys; default: those of this home.")
    ] = None,
    recompute: Annotated[
        bool, typer.Option("--recompute", help="Run every block again; INPUT must be among the paths.")
    ] = False,
    rpc: Annotated[
        str | None, typer.Option("--rpc", metavar="URL", help="Ask this chain's node for the anchors (JSON-RPC).")
    ] = None,
    confirmations: Annotated[
        int | None,
        typer.Option("--confirmations", min=0, metavar="N", help="With --rpc: blocks on top that count; default 12."),
    ] = None,
    json_: Annotated[
        bool, typer.Option("--json", help="Print the findings as JSON, one document per bundle or log.")
    ] = False,
) -> None:
    """Check a result, or a whole log, alone and offline: exit 0 holds, 1 does not hold, 2 cannot tell.

    Only --rpc asks anybody: the node of the chain on which it is anchored.
    """
    from tallystick.cli.exits import explain, hang_up

    try:
        ended = _verify(paths, trust, recompute=recompute, asked=(rpc, confirmations), json_=json_)
    except OSError as error:  # nobody reads it, or no more can be written: whatever was found was not told
        if not isinstance(error, BrokenPipeError):
            tell(f"cannot tell: the answer cannot be written: {explain(error)}")
        hang_up(sys.stdout.fileno())
        ended = EXIT_CANNOT_TELL
    raise typer.Exit(ended)


def _verify(
    paths: Sequence[Path], trust: Path | None, *, recompute: bool, asked: tuple[str | None, int | None], json_: bool
) -> int:
    """Print every answer; return the exit code that they add up to."""
    from tallystick.cli.history import folders_of

    try:
        pins, origin = _pins(trust)
        logs = folders_of(paths)
        files = [path for path in paths if path not in logs]
        if recompute and not files:
            raise UsageError("--recompute runs the blocks of one job again, and a log has none: add OUT and INPUT")
        means = _Means(pins, recompute, _inquiry(*asked))
        pile = _with_neighbours(_sorted(files)) if files else _Pile()
    except TallyError as error:
        complain(error, json_=json_)
        return EXIT_CANNOT_TELL
    codes, several = set(), len(pile.bundles) + len(pile.proofs) + len(logs) > 1
    for path, answer in sorted(_answers(logs, pile, means), key=_given(paths)):
        name = str(path) if several and path is not None else ""
        told = answer()
        if isinstance(told, TallyError):
            codes.add(EXIT_CANNOT_TELL)
            complain(told, name, json_=json_)
            continue
        codes.add(code(told.result))
        heads = [head for head in (origin, name) if head]
        show(told, heads, name, json_=json_)
    for chain in _foreign(pile, pins) if origin else ():
        tell(f"this bundle is of another ledger ({chain}) than this home's: give its trust file with --trust")
    return next(each for each in (EXIT_DOES_NOT_HOLD, EXIT_CANNOT_TELL, EXIT_HOLDS) if each in codes)


def _given(paths: Sequence[Path]) -> Callable[[tuple[Path | None, _Ask]], int]:
    """Return the order in which the paths were given; a bundle found beside its picture comes where that one does."""
    places = {path: place for place, path in reversed(list(enumerate(paths)))}
    found = {_beside(path, BUNDLE_SUFFIX): place for path, place in places.items() if path.name} | places

    def place(asked: tuple[Path | None, _Ask]) -> int:
        return len(paths) if asked[0] is None else found.get(asked[0], len(paths))

    return place


def _foreign(pile: _Pile, pins: Trust) -> list[str]:
    """Return the chains of the bundles that are not the pinned one."""
    from tallystick.audit.bundle import parse
    from tallystick.ledger.genesis import chain_id

    chains: list[str] = []
    for file in pile.bundles:
        with suppress(MalformedError):
            chains.append(chain_id(parse(file.data).genesis))
    return [chain for chain in dict.fromkeys(chains) if chain != pins.chain_id]


def examine(paths: Sequence[Path], trust: Path, *, recompute: bool = False) -> Report:
    """Check the files of one bundle against a trust file, for other verbs.

    Raises:
        TallyError: it cannot be told at all.
    """
    pins, _ = _pins(trust)
    _, case = next(_cases(_with_neighbours(_sorted(paths)), recompute=recompute))
    if isinstance(case, TallyError):
        raise case
    return _answer(case, _Means(pins, recompute))


def _inquiry(rpc: str | None, confirmations: int | None) -> Inquiry | None:
    """Return the chain that is asked, None where nobody is.

    Raises:
        UsageError: the URL is none, or there is none.
    """
    if rpc is None:
        if confirmations is not None:
            raise UsageError("--confirmations says after how many blocks a chain is believed: name it with --rpc URL")
        return None
    from tallystick.cli.chains import inquiry_of

    return inquiry_of(rpc, confirmations)


def _pins(path: Path | None) -> tuple[Trust, str]:
    """Read the trust file; without one, this home's, and what to say about that."""
    from tallystick.audit.trust import TRUST_BYTES_MAX, parse
    from tallystick.cli.home import HOME_VARIABLE, TRUST_FILE, home_path

    if path is not None:
        return parse(_read(path, TRUST_BYTES_MAX)), ""
    path = home_path() / TRUST_FILE
    if not path.exists():
        raise UsageError(f"no keys are pinned: give --trust FILE, or set {HOME_VARIABLE} to a home that has one")
    return parse(_read(path, TRUST_BYTES_MAX)), f"pinned keys: this home's own, {path}"


def _read(path: Path, bytes_max: int) -> bytes:
    """Read a regular file of bounded size."""
    try:
        if not path.is_file():
            raise UsageError(f"{path} is no file that can be read")
        size = path.stat().st_size
        if size > bytes_max:
            raise TooLargeError(str(path), f"{size} bytes, the limit is {bytes_max}")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error


def _sorted(paths: Sequence[Path]) -> _Pile:
    """Tell bundles, sidecars and pictures apart: by suffix, and where that says nothing, by content."""
    from tallystick.audit.bundle import BUNDLE_BYTES_MAX

    pile = _Pile()
    for path in dict.fromkeys(paths):
        spelled = path.suffix == ".json"
        file = _File(path, _read(path, BUNDLE_BYTES_MAX if spelled else FILE_BYTES_MAX))
        if path.suffix == PROOF_SUFFIX:
            pile.proofs.append(file)
        elif path.suffix == SIDECAR_SUFFIX:
            pile.sidecars.append(file)
        elif spelled or file.data[:1] == b"{":
            pile.bundles.append(file)
        elif file.data[_BOX_TYPE] == _JUMBF:
            pile.sidecars.append(file)
        else:
            pile.images.append(file)
    return pile


def _with_neighbours(pile: _Pile) -> _Pile:
    """Without a bundle among the paths, take the one beside each picture, and the sidecar beside it."""
    from tallystick.audit.bundle import BUNDLE_BYTES_MAX

    if pile.bundles or (pile.proofs and not pile.images and not pile.sidecars):
        return pile
    shown = {file.path for file in pile.sidecars}
    for image in pile.images:
        bundle, sidecar = _beside(image.path, BUNDLE_SUFFIX), _beside(image.path, SIDECAR_SUFFIX)
        if bundle.exists():
            pile.bundles.append(_File(bundle, _read(bundle, BUNDLE_BYTES_MAX)))
            if sidecar.exists() and sidecar not in shown:
                pile.sidecars.append(_File(sidecar, _read(sidecar, FILE_BYTES_MAX)))
    if not pile.bundles:
        names = ", ".join(_beside(image.path, BUNDLE_SUFFIX).name for image in pile.images)
        beside = f", and there is no {names} beside" if names else ""
        raise UsageError(f"no bundle is among the paths{beside}: add the OUT{BUNDLE_SUFFIX} that came with the result")
    return pile


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _cases(pile: _Pile, *, recompute: bool) -> Iterator[tuple[Path | None, _Case | TallyError]]:
    """Yield every bundle with its files under its path; what does not parse, or belongs to none, comes as its error."""
    from tallystick.audit.bundle import parse

    read: list[tuple[_File, Bundle]] = []
    for file in pile.bundles:
        try:
            read.append((file, parse(file.data)))
        except MalformedError as error:
            whole = error.what == BUNDLE  # else some value inside is malformed, such as an address of the genesis
            yield file.path, error if whole else MalformedError(BUNDLE, str(error))
    alone = len(pile.bundles) == 1
    taken: set[Path] = set()
    for file, bundle in read:
        images = [each for each in pile.images if alone or _belongs(each, file, bundle)]
        sidecars = [each for each in pile.sidecars if alone or _belongs(each, file, bundle)]
        taken.update(each.path for each in (*images, *sidecars))
        if len(sidecars) > 1:
            yield file.path, UsageError(f"{len(sidecars)} sidecars are shown for {file.path}: give one")
            continue
        sidecar = sidecars[0].data if sidecars else None
        yield file.path, _Case(file, bundle, _pictures(file, images, recompute=recompute), sidecar)
    for each in (*pile.images, *pile.sidecars):
        if read and each.path not in taken:
            yield None, UsageError(f"{each.path} belongs to none of these bundles: verify one bundle at a time")


def _pictures(bundle: _File, images: Sequence[_File], *, recompute: bool) -> Pictures:
    """The picture beside whose name the bundle stands is the output, and so is a lone one that nothing runs from.

    Otherwise a copy of the input, put in the output's place, would pass for an input that was merely shown.
    """
    from tallystick.audit.files import Pictures

    lone = len(images) == 1 and not recompute
    named = [each for each in images if lone or _beside(each.path, BUNDLE_SUFFIX).name == bundle.path.name]
    others = tuple(each.data for each in images if each not in named[:1])
    return Pictures(named[0].data if named else None, others)


def _belongs(file: _File, bundle_file: _File, bundle: Bundle) -> bool:
    """Tell by name or by digest whether a file is a bundle's, where several bundles are shown."""
    from tallystick.primitives.digests import sha256

    named = bundle_file.path.name.removesuffix(BUNDLE_SUFFIX)
    if file.path.parent == bundle_file.path.parent and file.path.name in {named, named + SIDECAR_SUFFIX}:
        return True
    shown = bundle.disclosures
    return sha256(file.data).hex() in {shown.artifact.value, shown.sidecar.value}


def _answers(logs: Sequence[Path], pile: _Pile, means: _Means) -> Iterator[tuple[Path | None, _Ask]]:
    """Yield what answers for every log and every bundle, under its path; what is asked last is judged last."""
    from tallystick.audit.receipt import verify_receipt
    from tallystick.cli.history import verify_log

    for log in logs:
        yield log, partial(_told, partial(verify_log, log, means.trust, means.inquiry))
    for file in pile.proofs:
        yield file.path, partial(_told, partial(verify_receipt, file.data, means.trust))
    for path, case in _cases(pile, recompute=means.recompute):
        if isinstance(case, TallyError):
            yield path, partial(_itself, case)
        else:
            yield path, partial(_told, partial(_answer, case, means))


def _itself(error: TallyError) -> Report | TallyError:
    return error


def _told(check: Callable[[], Report]) -> Report | TallyError:
    """Return the report, or the error because of which there is none."""
    try:
        return check()
    except TallyError as error:
        return error


def _answer(case: _Case, means: _Means) -> Report:
    from tallystick.audit.files import sort_pictures
    from tallystick.audit.verify import Shown, verify_bundle

    output, source = sort_pictures(case.bundle, case.pictures, _decode)
    shown = Shown(case.file.data, output, case.sidecar, source)
    return verify_bundle(
        shown,
        means.trust,
        decode=_decode,
        credentials=_credentials(means.trust),
        recompute=means.recompute,
        inquiry=means.inquiry,
    )


def _decode(data: bytes) -> Raster:
    from tallystick.adapters.pillow import decode_image

    return decode_image(data).raster


def _credentials(trust: Trust) -> Credentials | None:
    """Return a reader of credentials under the pinned root, None where none is pinned."""
    if trust.c2pa is None:
        return None
    from tallystick.adapters.c2pa import OPAQUE, CredentialChecker

    checker = CredentialChecker(trust.c2pa.root)

    def read(data: bytes, sidecar: bytes | None) -> object:
        return checker.check(data, OUTPUT_MIME if sidecar is None else OPAQUE, sidecar).claim

    return read
