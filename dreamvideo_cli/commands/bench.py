"""`dv bench`: what every method makes of things never trained, in numbers and side by side."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from dreamvideo_cli import __version__
from dreamvideo_cli.errors import UsageError
from dreamvideo_cli.generation.outputs import make_folder
from dreamvideo_cli.learning.options import read_value
from dreamvideo_cli.learning.plan import check_space
from dreamvideo_cli.settings.keys import check_device
from dreamvideo_cli.settings.places import locate_whole
from dreamvideo_cli.terminal.options import MotionModule, Shell
from dreamvideo_cli.terminal.output import View, info, show
from dreamvideo_cli.terminal.progress import show_progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.bases import BaseLocation
    from engine.benchmark.results import Results
    from engine.benchmark.run import BenchPlan
    from engine.benchmark.store import Part

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
    image_tower: Annotated[
        str | None,
        typer.Option(metavar="DIR|ID", help="CLIP image tower of a base without one."),
    ] = None
    motion_module: MotionModule = None
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
    location = locate_whole(options.base, options.image_tower, options.motion_module)
    pairs = options.pairs or (QUICK_PAIRS if options.quick else FULL_PAIRS)
    _check(options, location)
    folder = make_folder(options.out)
    info(shell, f"{pairs} pairs of {options.half} on {location.id}, kept in {folder} …")
    with show_progress(shell) as progress:
        from engine.benchmark.run import run_bench

        plan = _plan(options, location, folder, pairs)
        results = run_bench(plan, progress)
    _write(shell, plan.results, results, _facts(options, plan, results))


def _check(options: BenchOptions, location: "BaseLocation") -> None:
    """Fail before the wait, and before anything is loaded.

    Raises:
        UsageError: a method that does not exist.
        ScorerMissingError: OpenCV is not installed.
        BaseInvalidError: a motion is to be learned, and the base has no image tower.
        OutputError: the disk would be full.
    """
    from engine.bases import require_image_tower
    from engine.benchmark.rows import ROWS, looks_at_clips
    from engine.metrics.places import require_open_cv

    methods = options.method or list(ROWS)
    for name in methods:
        if name not in ROWS:
            raise UsageError(f"no method is called {name!r}", hint="known: " + ", ".join(ROWS))
    require_open_cv()
    if any(looks_at_clips(name) for name in methods):
        require_image_tower(location)
    check_space([options.out.expanduser().absolute()], location)


def _plan(options: BenchOptions, location: "BaseLocation", folder: Path, pairs: int) -> "BenchPlan":
    """What is to be done.

    Raises:
        UsageError: more pairs than there are.
        RecipeError: a value that cannot be tried.
    """
    from engine.benchmark.run import plan_bench
    from engine.benchmark.store import Workshop

    workshop = Workshop(
        location,
        options.half,
        "draft" if options.quick else "standard",
        folder,
        options.device,
        tried=_read_settings(options.setting or ()),
        maker=_commit(),
    )
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
    return {part: fields for part, fields in settings.items() if fields}


def _facts(options: BenchOptions, plan: "BenchPlan", results: "Results") -> dict[str, Any]:
    """Of what and by what the results are."""
    shop = plan.workshop
    return {
        "commit": shop.maker,
        "base": shop.location.id,
        "base_fingerprint": shop.location.fingerprint,
        "half": shop.half,
        "pairs": plan.pairs,
        "quality": shop.quality,
        "device": shop.computes_on,
        "set": list(options.setting or ()),
        "made_at_earlier_commits": sorted(results.makers - {shop.maker}),
    }


def _commit() -> str:
    """The commit that runs, marked where files differ from it; the version where there is no repository."""
    import subprocess

    here = Path(__file__).resolve().parents[2]
    ask = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        told = subprocess.run(ask, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return f"dv {__version__}"
    is_own = (here / ".git").exists()
    return told.stdout.strip() if is_own else f"dv {__version__}"


def _write(shell: Shell, folder: Path, results: "Results", facts: dict[str, Any]) -> None:
    from engine.benchmark.pages import document_of, markdown_of
    from engine.benchmark.run import write_text

    page, document = markdown_of(results, facts), document_of(results, facts)
    write_text(folder / "bench.md", page)
    write_text(folder / "bench.json", json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    info(shell, f"look at {folder / 'sheets'}: one picture a pair, every method below the other")
    show(shell, View(document, page.splitlines()))
