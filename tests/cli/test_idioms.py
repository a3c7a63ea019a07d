"""The idioms of the shell that must work, each as it is written down."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Learned, Put
from tests.cli.test_main import REPOSITORY
from tests.registry.samples import safetensors

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs bash")
Sh = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def sh(home: Path) -> Sh:
    """Run a script in bash, where `dv` is this one."""
    folder = home / "bin"
    folder.mkdir()
    (folder / "dv").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m dreamvideo_cli "$@"\n')
    (folder / "dv").chmod(0o755)

    def run(script: str, **variables: object) -> subprocess.CompletedProcess[str]:
        told = {name: str(value) for name, value in variables.items()}
        path = f"{folder}{os.pathsep}{os.environ['PATH']}"
        return subprocess.run(
            ["bash", "-c", f"set -euo pipefail\n{script}"],
            env={**os.environ, "PATH": path, "PYTHONPATH": str(REPOSITORY), **told},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_a_loop_over_bare_names(put: Put, sh: Sh) -> None:
    put("corgi")
    put("fox")
    put("skate", "motion")
    done = sh(
        'for s in $(dv subject list -q); do dv gen "$s on the moon" --subject "$s" '
        "--motion skate -n -q; done"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split()[1] for line in done.stdout.splitlines() if line[:7] == "subject"] == [
        "corgi:v1",
        "fox:v1",
    ]


def test_a_loop_over_every_version(put: Put, sh: Sh) -> None:
    put("corgi")
    put("corgi")
    done = sh("for r in $(dv subject list --all-versions -q); do dv resolve $r; done")
    assert [line.partition("@")[0] for line in done.stdout.splitlines()] == ["corgi:v1", "corgi:v2"]


def test_an_export_flows_into_an_import_elsewhere(put: Put, sh: Sh, home: Path) -> None:
    put("corgi", data=safetensors(), tags=["best"])
    done = sh(f"dv subject export corgi:best -o - | dv import - --registry {home / 'gpu2'}")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("corgi:v1@sha256:")
    there = sh("dv resolve corgi", DV_REGISTRY=home / "gpu2")
    assert there.stdout == done.stdout == sh("dv resolve corgi:best").stdout


def test_only_the_head_of_a_list_is_taken(put: Put, sh: Sh) -> None:
    put("corgi")
    done = sh("dv subject list | head -1")
    assert (done.stdout.split()[0], done.stderr) == ("NAME", "")


def test_a_reference_in_a_variable_means_the_same_later(put: Put, sh: Sh) -> None:
    put("corgi")
    done = sh(
        'R=$(dv subject tag corgi best); dv subject untag corgi:best >/dev/null; dv resolve "$R"'
    )
    assert done.stdout.startswith("corgi:v1@sha256:")


def test_the_exit_code_tells_what_stdout_does_not(put: Put, sh: Sh) -> None:
    put("corgi")
    done = sh('V=$(dv resolve nosuch) || echo "$? [$V]"')
    assert done.stdout == "3 []\n"


@pytest.mark.slow
def test_learning_stands_within_generating(
    sh: Sh, learned: Learned, photos: Path, home: Path
) -> None:
    script = f"""
    dv motion export skate -o skate.dva --registry {learned.registry} && dv import skate.dva
    V=$(dv gen "a corgi skate" --motion skate --steps 1 --seed 3 \
        --subject "$(dv subject learn {photos} --name corgi --steps 2 --batch 1)")
    test -s "$V"
    for s in $(dv subject list -q); do
        dv gen "$s on the moon" --subject "$s" --motion skate --steps 1
    done
    """
    done = sh(script, DV_BASE=learned.base)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.splitlines()[-1]) == home / "here" / "corgi-v1_skate-v1_s0.mp4"
    assert (home / "here" / "corgi-v1_skate-v1_s3.mp4").stat().st_size
