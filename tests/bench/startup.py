"""Print how long commands take to start, as multiples of what they stand on: ``python -m tests.bench.startup``."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.bench.timing import Ratio, take_turns, timed

REPOSITORY = Path(__file__).resolve().parents[2]
# As the installed script starts it.
SCRIPT = [
    sys.executable,
    "-c",
    "import sys; from dreamvideo_cli.main import main; sys.exit(main())",
]
BARE, TYPER, TORCH = "python -c pass", "python -c 'import typer'", "python -c 'import torch'"
# What is measured, against what, and the most that it may take.
COMMANDS: Mapping[str, tuple[Sequence[str], str, float]] = {
    "dv --version": (["--version"], BARE, 2),
    "dv --help": (["--help"], TYPER, 3),
    "dv subject list": (["subject", "list"], TYPER, 2),
    "dv subject show corgi": (["subject", "show", "corgi"], TYPER, 2),
    "completion of a command": (["--", "subject", ""], TYPER, 2),
    "completion of a name": (["--", "subject", "show", "c"], TYPER, 2),
    "dv gen of one step": (
        ["gen", "a cat", "--base", "mini", "--steps", "1", "--format", "webp", "-o", "-"],
        TORCH,
        3,
    ),
}


def main() -> None:
    """Measure all commands, taking turns, over a registry of some adapters."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.startup", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, help="turns of each, after a warm-up")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for ratio in compare(Path(folder), rounds=options.rounds):
            print(ratio)


def compare(folder: Path, *, rounds: int) -> list[Ratio]:
    """Every command over what it is measured against."""
    environment = _environment(folder)
    _fill(folder / "registry")
    lines = {
        BARE: [sys.executable, "-c", "pass"],
        TYPER: [sys.executable, "-c", "import typer"],
        TORCH: [sys.executable, "-c", "import torch"],
    }
    lines |= {name: [*SCRIPT, *words] for name, (words, _, _) in COMMANDS.items()}

    def runner(line: Sequence[str], *, completes: bool) -> Sequence[float]:
        wanted = {**environment, "_DV_COMPLETE": "zsh"} if completes else environment
        return [timed(lambda: subprocess.run(line, env=wanted, check=True, capture_output=True))]

    runs = {
        name: lambda name=name, line=line: runner(line, completes=name.startswith("completion"))  # type: ignore[misc]
        for name, line in lines.items()
    }
    took = take_turns(runs, rounds)
    return [
        Ratio(f"{name} / {base}", took[name] * 1000, took[base] * 1000, goal)
        for name, (_, base, goal) in COMMANDS.items()
    ]


def _environment(folder: Path) -> dict[str, str]:
    """A home of its own, and compiled modules as an installation has them: the warm-up writes them."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("DV_") and name != "PYTHONDONTWRITEBYTECODE"
    }
    kept["PYTHONPYCACHEPREFIX"] = str(folder / "compiled")
    named = {f"DV_{name.upper()}": str(folder / name) for name in ("registry", "state", "cache")}
    (folder / "none").touch()
    return {**kept, **named, "PYTHONPATH": str(REPOSITORY), "DV_CONFIG": str(folder / "none")}


def _fill(root: Path) -> None:
    from registry import open_registry, read_draft

    weights = root.parent / "weights"
    store = open_registry(root)
    for name in ("corgi", "fox", "cat"):
        weights.write_bytes(name.encode())
        facts = {
            "tool": "bench",
            "base": {"id": "mini@1", "fingerprint": "ab" * 32},
            "adapter": {"method": "dreamvideo", "dtype": "float32", "params": 4},
            "prompt": {"token": f"<{name}>", "class_word": "dog"},
            "training": {"recipe": {}, "seed": 0, "inputs": []},
        }
        store.publish("subject", name, read_draft(facts), {"weights": weights})


if __name__ == "__main__":
    main()
