"""One learning in two processes: what one alone would learn, published once."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.cli.conftest import Dv
from tests.cli.test_main import REPOSITORY


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["subject", "motion"])
def test_two_processes_have_the_losses_of_one_and_publish_once(  # noqa: PLR0917 - fixtures
    home: Path, photos: Path, clip: Path, tiny_folder: Path, dv: Dv, kind: str
) -> None:
    own = {
        "subject": (photos, "--class", "dog", "--set", "word_steps=2", "--set", "adapter_steps=3"),
        "motion": (clip, "--caption", "sweeping", "--steps", 3, "--frames", 4),
    }
    line = (kind, "learn", *own[kind], "--name", "thing", "--base", tiny_folder)
    line += ("--batch", 2, "--lr", 0.01)
    assert dv(*line, "-q").code == 0
    ran = in_two_processes(line)
    assert ran.returncode == 0, ran.stderr
    (printed,) = ran.stdout.splitlines()
    assert printed.startswith("thing:v2@sha256:")
    assert ran.stderr.count("loading") == 1
    assert dv(kind, "list", "--all-versions", "-q").out == "thing:v1\nthing:v2\n"
    alone, both = losses_of(home / "state" / "runs")
    assert alone == pytest.approx(both, rel=1e-5)


@pytest.mark.slow
def test_two_processes_agree_to_end_early_and_one_of_them_scores(
    home: Path, photos: Path, tiny_folder: Path, dv: Dv
) -> None:
    line = ("subject", "learn", photos, "--name", "thing", "--class", "dog", "--base", tiny_folder)
    # At such a rate no score is better than the first, however the scorer sees it.
    rates = ("--set", "word_steps=1", "--set", "adapter_steps=6", "--set", "adapter_lr=1e-30")
    line += (*rates, "--batch", 2, "--scorer", "mini", "--save-every", 1, "--patience", 1)
    line += ("--holdout", "0.png")
    ran = in_two_processes(line)
    assert ran.returncode == 0, ran.stderr
    assert len(ran.stdout.splitlines()) == 1
    assert ran.stderr.count("scored in") == 3
    assert ran.stderr.count("is held out") == 1
    (run,) = dv("runs", "list", "--json").document
    assert [row["step"] for row in run["scores"]] == [0, 1, 2]
    metrics = dv("subject", "show", "thing:v1", "--json").document["training"]["metrics"]
    assert (metrics["step"], metrics["patience"]) == (1, 1)
    assert [len(losses) for losses in losses_of(home / "state" / "runs")] == [1 + 2]


def in_two_processes(line: Sequence[object]) -> subprocess.CompletedProcess[str]:
    """One command line, as a launcher starts it twice on this machine."""
    # An address by number: looking up a name takes minutes on a machine without a network.
    place = ("--master_addr", "127.0.0.1", "--master_port", str(20_000 + os.getpid() % 20_000))
    launch = ("-m", "torch.distributed.run", "--nproc_per_node", "2", *place)
    return subprocess.run(
        [sys.executable, *launch, "-m", "dreamvideo_cli", *map(str, line)],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )


def losses_of(folder: Path) -> list[list[float]]:
    """Of each run, the oldest first, the loss of every step."""
    from dreamvideo_cli.runs.folders import list_runs
    from dreamvideo_cli.runs.folders.events import Step

    return [
        [event.loss for event in run.events() if isinstance(event, Step)]
        for run in list_runs(folder)
    ]
