"""`dv bench`: what every method makes of things never trained, in numbers and side by side."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from dreamvideo_cli import __version__, bases
from dreamvideo_cli.errors import UsageError
from dreamvideo_cli.options import Shell
from dreamvideo_cli.output import print_result, say
from dreamvideo_cli.plan import check_device
from dreamvideo_cli.progress import show_progress
from dreamvideo_cli.recipes import read_value
from dreamvideo_cli.silence import silent_libraries

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.bases import BaseLocation
    from engine.evaluate.results import Results
    from engine.evaluate.workshop import Part

QUICK_PAIRS, FULL_PAIRS = 3, 24


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """What is measured, and where all of it is kept."""

    quick: Annotated[
        bool, typer.Option("--quick", help="Three pairs, drafts of adapters: minutes, not hours.")
    ] = False
    base: Annotated[str, typer.Option(metavar="BASE", help="A path, a known name or a hub id.")] = (
        "mini"
    )
    half: Annotated[
        Literal["development", "test"],
        typer.Option(help="Held-out things: tune on development, tell of test."),
    ] = "development"
    pairs: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="How many pairs; by default 24.")
    ] = None
    method: Annotated[
        list[str] | None,
        typer.Option("--method", metavar="METHOD", help="Only these rows; repeatable."),
    ] = None
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="PART.NAME=VALUE",
            help="Try a value the base's card does not have: subject.adapter_lr=1e-3,"
            " motion.steps=150, generate.guidance=4; repeatable.",
        ),
    ] = None
    out: Annotated[
        Path,
        typer.Option(
            "--output", "--out", "-o", metavar="DIR", help="Results, and all that is kept."
        ),
    ] = Path("dv-bench")
    device: Annotated[
        str,
        typer.Option(metavar="auto|cpu|cuda[:N]|mps", envvar="DV_DEVICE", help="Where to compute."),
    ] = "auto"


def bench(options: BenchOptions, shell: Shell) -> None:
    """Measure every method on held-out subjects in held-out motions; a killed bench goes on.

    Example: dv bench --quick -o ./dv-bench
    """
    check_device(options.device)
    location = bases.locate(options.base)
    pairs = options.pairs or (QUICK_PAIRS if options.quick else FULL_PAIRS)
    folder = _made(options.out)
    say(shell, f"{pairs} pairs of {options.half} on {location.id}, kept in {folder} …")
    with show_progress(shell) as progress, silent_libraries():
        from engine.evaluate.bench import run_bench

        plan = _plan(options, location, folder, pairs)
        results = run_bench(plan, progress)
    facts = _facts(options, location, pairs)
    _write(shell, folder, results, facts)


def _plan(options: BenchOptions, location: "BaseLocation", folder: Path, pairs: int) -> Any:
    """What is to be done.

    Raises:
        UsageError: a method that does not exist, or more pairs than there are.
    """
    from engine.evaluate.bench import plan_bench
    from engine.evaluate.methods import METHODS
    from engine.evaluate.workshop import Workshop, with_settings

    for name in options.method or ():
        if name not in METHODS:
            raise UsageError(f"no method is called {name!r}", hint="known: " + ", ".join(METHODS))
    quality: Literal["draft", "standard"] = "draft" if options.quick else "standard"
    tried = with_settings(location, quality, _read_settings(options.setting or ()))
    workshop = Workshop(tried, options.half, quality, folder, options.device)
    try:
        return plan_bench(workshop, pairs, options.method)
    except ValueError as error:
        raise UsageError(str(error), hint="fewer --pairs") from error


def _read_settings(given: "Sequence[str]") -> dict["Part", dict[str, Any]]:
    """``subject.adapter_lr=1e-3`` as a value for a part of the card; values as `learn --set` reads them.

    Raises:
        UsageError: it has another shape, or names no part.
    """
    settings: dict[Part, dict[str, Any]] = {"subject": {}, "motion": {}, "generate": {}}
    for each in given:
        name, equals, text = each.partition("=")
        part, dot, field = name.strip().partition(".")
        if not (equals and dot and field) or part not in settings:
            raise UsageError(
                f"--set {each!r} is not PART.NAME=VALUE",
                hint="PART is subject, motion or generate: --set motion.steps=150",
            )
        settings[part][field] = read_value(text.strip())
    return settings


def _made(out: Path) -> Path:
    """The output folder, there now.

    Raises:
        OutputError: it cannot be made.
    """
    from engine.media.staging import output_error

    folder = out.expanduser().absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(folder, error) from error
    return folder


def _facts(options: BenchOptions, location: "BaseLocation", pairs: int) -> dict[str, Any]:
    """Of what and by what the results are."""
    return {
        "commit": _commit(),
        "base": location.id,
        "base_fingerprint": location.fingerprint,
        "half": options.half,
        "pairs": pairs,
        "quality": "draft" if options.quick else "standard",
        "set": list(options.setting or ()),
    }


def _commit() -> str:
    """The commit that runs, marked where files differ from it; the version where there is no repository."""
    import subprocess

    here = Path(__file__).resolve().parents[1]
    ask = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        told = subprocess.run(ask, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return f"dv {__version__}"
    is_own = (here / ".git").exists()
    return told.stdout.strip() if is_own else f"dv {__version__}"


def _write(shell: Shell, folder: Path, results: "Results", facts: dict[str, Any]) -> None:
    from engine.evaluate.bench import write_text
    from engine.evaluate.methods import METHODS
    from engine.evaluate.results import document_of, markdown_of

    labels = {key: method.label for key, method in METHODS.items()}
    page = markdown_of(results, facts, labels)
    document = document_of(results, facts, labels)
    write_text(folder / "bench.md", page)
    write_text(folder / "bench.json", json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    say(shell, f"look at {folder / 'sheets'}: one picture a pair, every method below the other")
    print_result(shell, document, page.splitlines())
