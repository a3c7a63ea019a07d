"""What a plan tells of the wait, from this machine's own past."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dreamvideo_cli.runs.timings import Timing, remember
from engine.bases import locate_base
from tests.cli.conftest import Dv, Put


@pytest.fixture
def past(base: Path):
    """Remember that this base was loaded in 10 s and took 2 s a unit of work, on the CPU."""
    print_of = locate_base(str(base)).fingerprint
    remember(Timing(task="load", base=print_of, device="cpu", work=1.0, seconds=10.0))
    remember(Timing(task="generate", base=print_of, device="cpu", work=0.5, seconds=1.0))


def plan(dv: Dv, base: Path, *rest: object):
    return dv("gen", "a dog", "--base", base, "-n", "--json", *rest).document


def test_without_a_past_no_time_is_invented(dv: Dv, base: Path) -> None:
    document = plan(dv, base)
    assert document["expected_seconds"] is None
    assert (document["device"], document["device_expected"]) == ("auto", "auto")
    assert "not known" in dv("gen", "a dog", "--base", base, "-n").out


def test_time_grows_with_steps_frames_and_videos(dv: Dv, base: Path, past) -> None:
    one = plan(dv, base)["expected_seconds"] - 10
    assert plan(dv, base, "--count", 3)["expected_seconds"] - 10 == pytest.approx(3 * one, abs=0.2)
    assert plan(dv, base, "--frames", 800)["expected_seconds"] - 10 == pytest.approx(100 * one, 0.1)
    assert plan(dv, base, "--steps", 900)["expected_seconds"] > 10 + 50 * one
    assert plan(dv, base)["device_expected"] == "cpu"
    assert "going by earlier videos" in dv("gen", "a dog", "--base", base, "-n").out


def test_a_device_that_was_never_used_has_no_past(
    dv: Dv, base: Path, past, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.hardware._built_for", lambda: {"hip"})
    document = plan(dv, base, "--device", "cuda")
    assert document["expected_seconds"] is None
    assert document["device_expected"] == "cuda"


def test_weights_are_counted_from_their_headers_in_the_precision_used(dv: Dv, base: Path) -> None:
    header = json.dumps(
        {
            "__metadata__": {"format": "pt"},
            "a": {"dtype": "F16", "shape": [3, 5], "data_offsets": [0, 30]},
        }
    ).encode()
    for name in ("diffusion.safetensors", "diffusion.fp16.safetensors"):
        (base / "unet" / name).write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 30)
    (base / "unet" / "model.safetensors").unlink()
    assert plan(dv, base)["weights_bytes"] == 60
    assert plan(dv, base, "--precision", "bf16")["weights_bytes"] == 30


def test_an_adapter_counts_where_it_takes_part(dv: Dv, put: Put) -> None:
    params = put("corgi").record.params
    for weight, numbers in ((1, params), (0, 0)):
        document = dv("gen", "a corgi", "--subject", f"corgi={weight}", "-n", "--json").document
        assert document["weights_bytes"] == 4 * numbers


def test_a_batch_loads_its_base_once(dv: Dv, base: Path, past) -> None:
    Path("jobs").write_text('{"prompt": "a dog"}\n' * 3)
    batch = dv("gen", "--jobs", "jobs", "--base", base, "-n", "--json").document
    one = plan(dv, base)["expected_seconds"] - 10
    assert batch["expected_seconds"] == pytest.approx(10 + 3 * one, abs=0.2)
    assert [job["id"] for job in batch["jobs"]] == [1, 2, 3]
    told = dv("gen", "--jobs", "jobs", "--base", base, "-n").out
    assert "PROMPT" in told
