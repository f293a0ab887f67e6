"""Every benchmark runs on tiny sizes and says what it is asked for; how fast anything is, no test asks."""

from __future__ import annotations

import importlib
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from bench import __main__ as bench
from bench import _job, entries, kernel, memory, overhead, startup
from bench._command import run
from bench._meter import Meter, count

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


def test_startup() -> None:
    figures: dict[str, Any] = startup.main(runs=1)
    assert set(figures) == {"python_c_pass", "tally_help", "tally_verify", "bundle_bytes"}


def test_a_command_that_fails_is_named_with_its_words() -> None:
    with pytest.raises(SystemExit, match=r"ended with 2: .*no benchmark nonsense"):
        run([__import__("sys").executable, "-m", "bench", "nonsense"], {"PYTHONPATH": str(ROOT)})


def test_every_module_is_a_benchmark_or_begins_with_an_underscore() -> None:
    assert bench.known() == ["entries", "kernel", "memory", "overhead", "startup"]
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


def test_committed_results_have_every_benchmark() -> None:
    results = sorted((ROOT / "bench" / "results").glob("2*.json"))
    assert results
    for path in results:
        document = json.loads(path.read_text(encoding="utf-8"))
        assert set(document["figures"]) == set(bench.known())
        assert document["command"] == "python -m bench"
