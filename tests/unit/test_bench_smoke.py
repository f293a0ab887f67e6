"""Every benchmark runs on tiny sizes and says what it is asked for; how fast anything is, no test asks."""

from __future__ import annotations

import importlib
import json
import re
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from bench import __main__ as bench
from bench import _job, entries, kernel, memory, million, overhead, startup
from bench._command import run
from bench._meter import Meter, count
from tallystick.adapters.sqlite import SqliteStore

ROOT = Path(__file__).resolve().parent.parent.parent


def burn(steps: int = 20_000) -> int:
    return sum(range(steps))


def test_a_span_is_taken_out_of_the_one_around_it_and_threads_are_added_up() -> None:
    meter = Meter(calibrated=False)
    inner = meter.wrap("inner", burn)

    def outer() -> None:
        with meter.span("outer"):
            burn()
            inner()
            inner()

    outer()
    thread = threading.Thread(target=outer)
    thread.start()
    thread.join()
    inside = meter.seconds
    assert set(inside) == {"inner", "outer"}
    assert 0 < inside["outer"] < inside["inner"]
    assert meter.whole("outer") == pytest.approx(inside["outer"] + inside["inner"])
    assert meter.whole("never") == 0


def test_a_failing_call_is_counted_and_fails() -> None:
    meter = Meter()
    with pytest.raises(ZeroDivisionError):
        meter.wrap("division", lambda: 1 // 0)()
    assert "division" in meter.seconds
    assert meter.cost > 0


def test_methods_are_counted_in_place() -> None:
    class Worker:
        def work(self, steps: int) -> int:
            return burn(steps)

    meter, worker, other = Meter(calibrated=False), Worker(), Worker()
    count(worker, meter, {"work": "work"})
    assert isinstance(worker, Worker)
    assert other.work(10) == worker.work(10) == 45
    assert set(meter.seconds) == {"work"}


def test_the_parts_of_a_job_have_names_and_are_all_reported() -> None:
    named = {value for name, value in vars(_job).items() if name.isupper() and isinstance(value, str)}
    reported = {*overhead.INSIDE, *overhead.BESIDE, *overhead.AFTER, _job.DECODE, _job.KERNEL, _job.REFEREE}
    assert named - {_job.JOB} == reported


def test_overhead(capsys: pytest.CaptureFixture[str]) -> None:
    figures: dict[str, Any] = overhead.main(side=48, rounds=2, block=16)
    assert figures["slicing_commitment_log"] > 0
    assert set(figures["parts_inside"]) == set(overhead.INSIDE)
    assert all(share > 0 for share in figures["parts_inside"].values())
    assert all(share > 0 for share in figures["before_and_after"].values())
    # 36 blocks: 2 copies, 1 audited block, every block.
    few, one, every = figures["checking_over_the_rest"].values()
    assert 0 < one < every
    assert 0 < few < every
    assert "target 10%" in capsys.readouterr().out


def test_entries() -> None:
    figures: dict[str, Any] = entries.main(entries=64, rounds=1)
    assert set(figures["entries_per_s_by_batch"]) == {"1", "64", "256", "512"}
    assert min(figures["entries_per_s_by_batch"].values()) > 0
    assert figures["fdatasyncs_per_s"] > 0


def test_kernel() -> None:
    figures: dict[str, Any] = kernel.main(side=48, rounds=1)
    assert set(figures["cpu_s_by_tile"]) == {"128", "256", "512"}


def test_memory() -> None:
    figures: dict[str, Any] = memory.main(side=64)
    assert figures["output_samples_bytes"] == 128 * 128 * 3
    assert figures["peak_rss_bytes"] > 10_000_000
    assert figures["disk_peak_bytes"] > 0


def test_million(capsys: pytest.CaptureFixture[str]) -> None:
    figures: dict[str, Any] = million.main(entries=3000, snapshot_every=700, rounds=1)
    assert figures["entries"] == 3000
    assert figures["snapshot_piece_bytes"] > 700 * 40
    assert figures["start_of_an_empty_ledger_s"] > 0
    assert min(figures[f"start_by_{way}_s"] for way in ("snapshot", "replay")) > 0
    assert figures["peak_rss_by_snapshot_bytes"] > 10_000_000
    assert figures["replay_over_snapshot"] > 0
    assert "target 10 s" in capsys.readouterr().out


def test_the_two_starts_fold_the_same_ledger_and_only_one_knows_the_snapshot(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    pauses, sizes = million.build(path, 1700, 500)
    assert len(pauses) == len(sizes) == 3
    by_snapshot, by_replay = (million._opened(kind(path, read_only=True)) for kind in (SqliteStore, million.NoSnapshot))
    assert by_replay.tree.size > by_snapshot._kept.size > 1500
    assert by_replay._kept.size == 0
    assert by_snapshot.view.records == by_replay.view.records
    assert by_snapshot.tree.root() == by_replay.tree.root()
    assert 1000 < len(by_replay.view.records) < 1700


def test_startup() -> None:
    figures: dict[str, Any] = startup.main(runs=1)
    assert set(figures) == {"python_c_pass", "tally_help", "tally_verify", "bundle_bytes"}


def test_a_command_that_fails_is_named_with_its_words() -> None:
    with pytest.raises(SystemExit, match=r"ended with 2: .*no benchmark nonsense"):
        run([sys.executable, "-m", "bench", "nonsense"], {"PYTHONPATH": str(ROOT)})


def test_every_module_is_a_benchmark_or_begins_with_an_underscore() -> None:
    assert bench.known() == ["entries", "kernel", "memory", "million", "overhead", "sockets", "startup"]
    for name in bench.known():
        module = importlib.import_module(f"bench.{name}")
        assert callable(module.main)
        assert (module.__doc__ or "").strip()


def test_figures_go_to_a_file_that_names_no_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "main", lambda: {"figure": 1})
    assert bench.main(["kernel", "--out", str(tmp_path / "new" / "figures.json")]) == 0
    document = json.loads((tmp_path / "new" / "figures.json").read_text())
    assert document["figures"] == {"kernel": {"figure": 1}}
    assert set(document["hardware"]) == {"processor", "cores", "memory_gb", "system"}
    assert str(tmp_path) not in json.dumps(document)
    assert bench.main(["kernel", "nonsense"]) == 2


def test_every_benchmark_has_committed_results() -> None:
    found: list[str] = []
    for path in sorted((ROOT / "bench" / "results").glob("2*.json")):
        document = json.loads(path.read_text(encoding="utf-8"))
        named = document["command"].split()[3:]
        assert document["command"].split()[:3] == ["python", "-m", "bench"]
        assert not named or set(document["figures"]) == set(named)
        found += document["figures"]
    assert sorted(found) == bench.known()


def test_the_guide_says_what_was_measured() -> None:
    guide = " ".join((ROOT / "docs" / "guides" / "performance.md").read_text(encoding="utf-8").split())
    names = sorted(set(re.findall(r"bench/results/(2[\w-]+\.json)", guide)))
    documents = [json.loads((ROOT / "bench" / "results" / name).read_text(encoding="utf-8")) for name in names]
    figures = {name: each for document in documents for name, each in document["figures"].items()}
    wanted = [
        *said_of_proof(figures["overhead"]),
        *said_of_a_million(figures["million"]),
        *said_of_sockets(figures["sockets"]),
        *said_of_the_rest(figures),
        *(f"load of {each['load_at_start']} at the start, {each['load_at_end']} at the end" for each in documents),
        *(f"Python {each['software']['python']}." for each in documents),
    ]
    assert [each for each in wanted if each not in guide] == []


def said_of_sockets(measured: dict[str, Any]) -> list[str]:
    rows = [(count, measured[f"workers_{count}"]) for count in (2, 8, 32)]
    idle = measured["idle"]
    return [
        f"makes {measured['engine_entries_per_second']:,} durable entries a second in groups of {measured['group']}",
        *(f"| {count} | {each['microjobs_per_second']:.0f} | {each['share_of_engine']:.2f} |" for count, each in rows),
        f"take {idle['per_thousand_mb']:.0f} MB beside the {idle['before_mb']:.0f} MB of a node with one.",
    ]


def share(value: float) -> str:
    return f"{100 * value:.1f} %"


def said_of_proof(proof: dict[str, Any]) -> list[str]:
    after, rounds = proof["before_and_after"], sorted(proof["by_round"])
    parts = proof["parts_inside"] | proof["parts_beside"]
    return [
        *(f"| {part} | {share(each)} |" for part, each in parts.items()),
        f"together** | **{share(proof['slicing_commitment_log'])}** | by round {100 * rounds[0]:.1f} to",
        f"to {share(rounds[-1])}; the least of all rounds over the least bare",
        f"kernel: {share(proof['least_over_least'])} |",
        f"costs {share(proof['whole_job_over_kernel'])} more than the kernel",
        f"decoding the input {share(after['decoding the input'])}, assembly",
        f"raster digest) {share(after['assembly'])}, content",
        f"credentials {share(after['content credentials'])}, bundle",
        f"clearing up {share(after['bundle and clearing up'])}, and PNG coding {100 * after['PNG coding']:.0f} %",
        *(f"| {share(each)} |" for each in proof["checking_over_the_rest"].values()),
    ]


def said_of_a_million(start: dict[str, Any]) -> list[str]:
    rows = (
        ("an empty ledger", "of_an_empty_ledger"),
        ("by snapshot", "by_snapshot"),
        ("by a full replay", "by_replay"),
    )
    return [
        f"{start['entries']:,} entries",
        f"a file of {start['file_bytes'] / 1e6:,.0f} MB",
        *(
            f"| {name} | {start[f'start_{key}_s']:.1f} s | {start[f'start_{key}_cpu_s']:.1f} s "
            f"| {start[f'peak_rss_{key}_bytes'] / 1e6:,.0f} MB |"
            for name, key in rows
        ),
        f"{start['replay_over_snapshot']:.0f} times the CPU",
        f"every {start['snapshot_every']:,} entries",
        f"{start['snapshot_pause_ms']} ms, at most {start['snapshot_pause_ms_at_most']} ms",
    ]


def said_of_the_rest(figures: dict[str, Any]) -> list[str]:
    ledger, order, start = figures["entries"], figures["memory"], figures["startup"]
    floor = ledger["floor_verifications_per_s"]
    return [
        *(f"| {n} | {rate:,} | {share(rate / floor)} |" for n, rate in ledger["entries_per_s_by_batch"].items()),
        f"{floor:,}/s",
        f"peak {order['peak_rss_bytes'] / 1e6:,.0f} MB",
        f"took {order['disk_peak_bytes'] / 1e6:,.0f} MB of disk",
        f"takes {order['peak_rss_of_a_tiny_job_bytes'] / 1e6:,.0f} MB",
        f"`tally --help` {start['tally_help']['wall_ms']} ms",
        f"nothing: {start['python_c_pass']['wall_ms']} ms",
        f"bundle {start['tally_verify']['wall_ms']} ms",
    ]
