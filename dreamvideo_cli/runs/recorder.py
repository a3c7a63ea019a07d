"""What a run's own record says: the engine's events, and the machine."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

from dreamvideo_cli import __version__
from dreamvideo_cli.terminal.processes import read_rank
from engine.progress import (
    MemoryReduced,
    Note,
    Previewed,
    Saved,
    Scored,
    StageAdvanced,
    StageStarted,
    StepSkipped,
)

if TYPE_CHECKING:
    from dreamvideo_cli.runs.folders import EventLog
    from engine.progress import Event, Progress

# Those whose versions can change a result.
LIBRARIES = ("torch", "diffusers", "transformers", "accelerate", "numpy", "pillow")


# How each of the engine's events is written down, and its fields where their names differ.
WORDS: Mapping[type, str] = {
    StageStarted: "stage",
    Saved: "save",
    Previewed: "preview",
    Scored: "score",
    MemoryReduced: "rung",
    StepSkipped: "skip",
    Note: "note",
}
FIELDS = {"total": "steps"}


def record(log: EventLog, progress: Progress) -> Progress:
    """Write down what is told, and hand it on."""
    last = time.monotonic()

    def listen(event: Event) -> None:
        nonlocal last
        now = time.monotonic()
        if isinstance(event, StageAdvanced):
            if event.loss is not None:
                seconds = round(now - last, 4)
                log.write(
                    "step", stage=event.stage, step=event.step, loss=event.loss, seconds=seconds
                )
        elif word := WORDS.get(type(event)):
            facts = asdict(event)
            log.write(word, **{FIELDS.get(name, name): value for name, value in facts.items()})
        last = now
        progress(event)

    return listen


def machine_facts(device: str) -> dict[str, str]:
    """Where it runs, and with what; ``device`` is as asked for, and what it comes to is told.

    Raises:
        DeviceError: it is not here.
    """
    from importlib import metadata

    from engine.device import maker_name, resolve_device

    found = resolve_device(device, rank=read_rank().local_index)
    name = maker_name(found)
    return {
        "device": str(found),
        **({"gpu": name} if name else {}),
        "machine": f"{platform.node()}, {platform.machine()}, {os.cpu_count()} cores",
        "system": platform.platform(),
        "dv": __version__,
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in LIBRARIES},
    }
