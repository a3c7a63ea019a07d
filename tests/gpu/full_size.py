"""Measure learning and generation at full size: ``python -m tests.gpu.full_size --out DIR``.

Random weights of the real sizes are made on the device, so nothing is downloaded. Each row is a ratio within one run:
a step over the denoiser's own forward and backward pass, a video over its calls, and both over what a plain loop or
diffusers' own pipeline takes. It begins no row after ``--seconds`` and writes what it has into ``full_size.md`` and
``full_size.json``.

Beside torch, transformers and accelerate it needs diffusers, msgspec, safetensors, pillow and numpy.
``--tiny --device cpu`` goes through every line of it in seconds, on networks whose times mean nothing.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from engine.bases.protocol import Role
from engine.device import maker_name, resolve_device
from engine.training.memory import ROLES
from tests.gpu.measure import (
    Row,
    costly_kernels,
    measure_layout,
    measure_learning,
    measure_video,
)
from tests.gpu.scenes import FULL, TINY, Scene, Stage, set_up

# Of what one row is expected to take at most, compiling aside.
ROW_SECONDS = 20.0
COMPILE_SECONDS = 75.0
COLUMNS = ("base", "what", "s", "/ network", "/ reference", "peak GiB", "estimate GiB")


@dataclass(frozen=True, slots=True)
class Found:
    """What a run has measured: rows, costly kernels in milliseconds, and what failed or was left out."""

    rows: list[Row] = field(default_factory=list)
    kernels: list[tuple[str, str, float]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def main(arguments: list[str] | None = None) -> int:
    """Measure every row that there is time for; 1 where a row failed."""
    options = _parse(arguments)
    deadline = time.monotonic() + options.seconds
    found = Found()
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for scene in TINY if options.tiny else FULL:
            for _ in _measure(found, scene, Path(folder), options, deadline):
                _write(found, options)
    _write(found, options)
    return int(any(note.startswith("failed") for note in found.notes))


def _write(found: Found, options: argparse.Namespace) -> None:
    """What there is so far: a run that is killed leaves it."""
    document = {
        "device": maker_name(torch.device(options.device)) or platform.processor() or "cpu",
        "torch": torch.__version__,
        "rows": [row.as_json() for row in found.rows],
        "kernels": found.kernels,
        "notes": found.notes,
    }
    (options.out / "full_size.json").write_text(json.dumps(document, indent=1), "utf-8")
    (options.out / "full_size.md").write_text(_table(document, found.rows), "utf-8")


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.gpu.full_size", description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--half", action="store_true", help="bf16 on a CPU too")
    parser.add_argument("--tiny", action="store_true", help="tiny networks, to try every line")
    parser.add_argument(
        "--compiled",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="rows of compiled steps",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the two files")
    parser.add_argument("--seconds", type=float, default=240.0, help="begin no row after that")
    parser.add_argument("--steps", type=int, default=5, help="steps of learning a row")
    parser.add_argument("--video-steps", type=int, default=10, help="sampling steps of a video")
    return parser.parse_args(arguments)


def _dtype(options: argparse.Namespace) -> torch.dtype:
    return torch.bfloat16 if options.half or options.device != "cpu" else torch.float32


def _measure(
    found: Found, scene: Scene, folder: Path, options: argparse.Namespace, deadline: float
) -> Iterator[None]:
    """Add what is found of one base, row by row."""
    try:
        stage = set_up(scene, folder, resolve_device(options.device), _dtype(options))
    except Exception as error:  # noqa: BLE001  (what the other bases measure is not lost)
        found.notes.append(f"failed {scene.name}: {error}")
        return
    for what, seconds, act in _plan(stage, options, found.kernels):
        if time.monotonic() + seconds > deadline:
            found.notes.append(f"left out {scene.name} {what}: no time")
            continue
        try:
            row = act()
        except Exception as error:  # noqa: BLE001
            found.notes.append(f"failed {scene.name} {what}: {error}")
            continue
        if row is not None:
            found.rows.append(row)
            print(_line(row), file=sys.stderr, flush=True)
        yield


def _plan(
    stage: Stage, options: argparse.Namespace, kernels: list[tuple[str, str, float]]
) -> Iterator[tuple[str, float, Callable[[], Row | None]]]:
    """What is measured of a base, how long that may take, and the act; what changes the base comes last."""
    steps = options.steps
    yield "video", ROW_SECONDS, lambda: measure_video(stage, steps=options.video_steps)
    yield "identity", ROW_SECONDS, lambda: measure_learning(stage, "identity", steps=steps)
    yield "motion", ROW_SECONDS, lambda: measure_learning(stage, "motion", steps=steps)
    yield "kernels", ROW_SECONDS, lambda: kernels.extend(costly_kernels(stage, "motion"))
    yield "channels last", ROW_SECONDS, lambda: measure_layout(stage, steps=steps)
    yield (
        "checkpointed",
        ROW_SECONDS,
        lambda: measure_learning(stage, "motion", steps=steps, checkpointing=True),
    )
    if stage.device.type == "cuda" and options.compiled:
        fresh = _fresh(stage)
        for role in ROLES:
            yield (
                f"{role} compiled",
                COMPILE_SECONDS,
                partial(_measure_compiled, fresh, role, steps),
            )


def _measure_compiled(fresh: Callable[[], Stage], role: Role, steps: int) -> Row:
    return measure_learning(fresh(), role, steps=steps, compiled=True)


def _fresh(stage: Stage) -> Callable[[], Stage]:
    """The same scene again, with blocks that are computed once."""

    def make() -> Stage:
        stage.base.denoiser.to("meta")
        with tempfile.TemporaryDirectory() as folder:
            return set_up(stage.scene, Path(folder), stage.device, stage.base.dtype)

    return make


def _line(row: Row) -> str:
    cells = (
        row.scene,
        row.what,
        f"{row.seconds:.3f}",
        f"{row.over_network:.2f}",
        *("" if value is None else f"{value:.2f}" for value in (row.over_reference,)),
        *("" if value is None else f"{value:.1f}" for value in (row.peak_gib, row.estimated_gib)),
    )
    return "| " + " | ".join(cells) + " |"


def _table(document: dict[str, Any], rows: list[Row]) -> str:
    lines = [
        f"{document['device']}, torch {document['torch']}",
        "",
        "| " + " | ".join(COLUMNS) + " |",
        "|" + "---|" * len(COLUMNS),
        *map(_line, rows),
        "",
        *(f"- {note}" for note in document["notes"]),
    ]
    if document["kernels"]:
        lines += ["", "| base | kernel of a motion's step | ms |", "|---|---|---|"]
        lines += [
            f"| {base} | `{name[:90]}` | {ms:.2f} |" for base, name, ms in document["kernels"]
        ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
