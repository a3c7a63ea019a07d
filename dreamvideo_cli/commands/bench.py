"""`dv bench`: what every method makes of things never trained, in numbers and side by side."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dreamvideo_cli import __version__
from dreamvideo_cli.errors import UsageError
from dreamvideo_cli.generation.outputs import make_folder
from dreamvideo_cli.learning.options import read_value
from dreamvideo_cli.learning.plan import check_space
from dreamvideo_cli.settings.keys import check_device
from dreamvideo_cli.settings.places import locate_whole
from dreamvideo_cli.terminal.options import Device, DryRun, ImageTower, MotionModule, Shell, option
from dreamvideo_cli.terminal.output import View, info, show
from dreamvideo_cli.terminal.progress import show_progress
from dreamvideo_cli.terminal.text import field_lines
from engine.bases import require_image_tower
from engine.media.output.staging import refuse_folder
from engine.metrics.places import MINI, USUAL, find_tower, require_open_cv

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from engine.bases import BaseLocation
    from engine.benchmark.results import Results
    from engine.benchmark.rows import Row
    from engine.benchmark.run import BenchPlan
    from engine.benchmark.sources import PairSource
    from engine.benchmark.store import Part
    from engine.recipe import Quality

QUICK_PAIRS, FULL_PAIRS = 3, 24


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """What is measured, and where all of it is kept."""

    quick: bool = option("Three pairs, drafts of adapters: minutes, not hours.", default=False)
    base: str = option("A path, a known name or a hub id.", default="mini", metavar="BASE")
    image_tower: ImageTower = None
    motion_module: MotionModule = None
    half: Literal["development", "test"] = option(
        "Held-out things: tune on development, tell of test.", default="development"
    )
    pairs: str | None = option(
        "How many pairs, by default 24; or a folder of photos and clips with a pairs.toml.",
        metavar="N|DIR",
    )
    method: list[str] | None = option("Only these rows; repeatable.", metavar="ROW")
    methods: str | None = option(
        "Rows of other methods beside ours: each alone and with the other half, of as many draws.",
        metavar="NAME,NAME…|all",
    )
    scorer: list[str] | None = option(
        "Who scores; repeatable. By default mini, and clip and dino for pairs of your own.",
        metavar="clip|dino|mini|DIR|ID",
    )
    setting: list[str] | None = option(
        "Try a value the base's card does not have: subject.adapter_lr=1e-3, motion.steps=150,"
        " generate.guidance=4; repeatable.",
        "--set",
        metavar="PART.NAME=VALUE",
    )
    out: Path = option(
        "Results, and all that is kept.",
        "--output",
        "--out",
        "-o",
        default=Path("dv-bench"),
        metavar="DIR",
    )
    device: Device = "auto"
    dry_run: DryRun = False


def bench(options: BenchOptions, shell: Shell) -> None:
    """Measure every method on held-out subjects in held-out motions; a killed bench goes on.

    Pairs of your own, on any base: `dv help pairs` says what the folder holds.

    Example: dv bench --quick -o ./dv-bench
    """
    check_device(options.device)
    folder = options.out.expanduser().absolute()
    refuse_folder(folder)
    location = locate_whole(options.base, options.image_tower, options.motion_module)
    source, pairs = _choose_pairs(options)
    rows = choose_rows(options.method, options.methods)
    scorers = _check(options, location, source, rows)
    info(shell, f"{pairs} pairs of {source.name} on {location.id}, kept in {folder} …")
    with show_progress(shell) as progress:
        from engine.benchmark.run import run_bench

        plan = _plan(options, location, folder, (source, pairs, rows, scorers))
        for key, why in plan.missing.items():
            info(shell, f"without {rows[key].label}: {why}")
        if options.dry_run:
            show(shell, _plan_view(plan))
            return
        make_folder(folder)
        results = run_bench(plan, progress)
    _write(shell, plan.results, results, _facts(options, plan, results))


def _choose_pairs(options: BenchOptions) -> "tuple[PairSource, int]":
    """Where the pairs come from, and how many there are."""
    from engine.benchmark.sources import WorldPairs, open_own_pairs

    text = options.pairs
    if text is None or text.isdecimal():
        usual = QUICK_PAIRS if options.quick else FULL_PAIRS
        count = usual if text is None else int(text)
        if count < 1:
            raise UsageError("--pairs 0 measures nothing", hint="a number, or a folder")
        return WorldPairs(options.half), count
    folder = Path(text).expanduser().absolute()
    if not folder.is_dir() and "/" not in text:
        raise UsageError(f"--pairs {text!r} is no number and no folder", hint="3, or ./my-pairs")
    own = open_own_pairs(folder)
    return own, len(own.pairs)


def choose_rows(only: "Sequence[str] | None", methods: str | None) -> "dict[str, Row]":
    """The rows that are asked for: the usual ones, those of other methods, or some of both.

    Raises:
        UsageError: a row or a method that does not exist.
    """
    from engine.benchmark.rows import BESIDE, ROWS, TRUTHS, list_methods, method_rows

    known = list_methods()
    names = known if methods == "all" else [n.strip() for n in (methods or "").split(",") if n]
    for name in names:
        if name not in known:
            raise UsageError(
                f"no method is called {name!r}", hint=f"all, or of: {', '.join(known)}"
            )
    rows = {**ROWS, **method_rows(known if only else names)}
    usual = [*BESIDE, *method_rows(names), *TRUTHS] if methods else list(ROWS)
    chosen = dict.fromkeys([*(only or usual), *(method_rows(names) if only else ())])
    for name in chosen:
        if name not in rows:
            raise UsageError(f"no row is called {name!r}", hint="known: " + ", ".join(rows))
    return {name: rows[name] for name in chosen}


def _check(
    options: BenchOptions,
    location: "BaseLocation",
    source: "PairSource",
    rows: "Mapping[str, Row]",
) -> tuple[str, ...]:
    """Fail before the wait, and before anything is loaded; returns who scores."""
    from engine.benchmark.rows import looks_at_clips

    scorers = _choose_scorers(options, source)
    if any(map(looks_at_clips, rows.values())):
        require_image_tower(location)
    check_space([options.out.expanduser().absolute()], location)
    return scorers


def _choose_scorers(options: BenchOptions, source: "PairSource") -> tuple[str, ...]:
    scorers = tuple(options.scorer or ((MINI,) if source.has_truth else USUAL))
    for name in scorers:
        if name != MINI:
            find_tower(name)
    require_open_cv()
    return scorers


def _plan(
    options: BenchOptions,
    location: "BaseLocation",
    folder: Path,
    asked: "tuple[PairSource, int, Mapping[str, Row], Sequence[str]]",
) -> "BenchPlan":
    """What is to be done."""
    from engine.benchmark.run import plan_bench
    from engine.benchmark.store import BenchStore

    source, pairs, rows, scorers = asked
    quality: Quality = "draft" if options.quick else "standard"
    tried = _read_settings(options.setting or (), rows)
    bench_store = BenchStore(
        location, source, quality, folder, options.device, tried=tried, maker=_commit()
    )
    try:
        return plan_bench(bench_store, pairs, rows, scorers)
    except ValueError as error:
        raise UsageError(str(error), hint="fewer --pairs") from error


def _plan_view(plan: "BenchPlan") -> View:
    """What `bench` would measure; what an earlier bench kept in the folder is not made again."""
    bench_store = plan.bench_store
    rows = {key: row.label for key, row in plan.rows.items() if key not in plan.missing}
    document: dict[str, Any] = {
        "schema": "dv.plan/1",
        "command": "bench",
        "base": {"id": bench_store.location.id, "fingerprint": bench_store.location.fingerprint},
        "pairs": [
            {"subject": p.subject, "motion": p.motion} for p in bench_store.source.take(plan.pairs)
        ],
        "rows": rows,
        "missing": dict(plan.missing),
        "videos": plan.pairs * len(rows),
        "scorers": list(plan.scorers),
        "quality": bench_store.quality,
        "device": bench_store.device,
        "results": str(plan.results),
    }
    fields = [
        ("base", bench_store.location.id),
        *(("pair", f"{each['subject']} in {each['motion']}") for each in document["pairs"]),
        *(("row", label) for label in rows.values()),
        ("videos", str(document["videos"])),
        ("scored by", ", ".join(plan.scorers)),
        ("quality", bench_store.quality),
        ("device", bench_store.device),
        ("results", document["results"]),
    ]
    return View(document, field_lines(fields))


def _read_settings(
    given: "Sequence[str]", rows: "Mapping[str, Row]"
) -> dict["Part", dict[str, Any]]:
    """``subject.adapter_lr=1e-3`` as a value for a part of the card; values as `learn --set` reads them."""
    methods = {row.subject_method for row in rows.values() if row.look}
    methods |= {row.motion_method for row in rows.values() if row.move}
    parts = ("subject", "motion", "generate", *sorted(methods - {"dreamvideo"}))
    settings: dict[Part, dict[str, Any]] = {part: {} for part in parts}
    for each in given:
        name, equals, text = each.partition("=")
        part, dot, field = name.strip().partition(".")
        if not (equals and dot and field) or part not in settings:
            raise UsageError(
                f"--set {each!r} is not PART.NAME=VALUE",
                hint=f"--set motion.steps=150; PART is one of: {', '.join(parts)}",
            )
        settings[part][field] = read_value(text.strip())
    return {part: fields for part, fields in settings.items() if fields}


def _facts(options: BenchOptions, plan: "BenchPlan", results: "Results") -> dict[str, Any]:
    """Of what and by what the results are."""
    bench_store = plan.bench_store
    return {
        "commit": bench_store.maker,
        "base": bench_store.location.id,
        "base_fingerprint": bench_store.location.fingerprint,
        "half": bench_store.source.name,
        "scorers": list(plan.scorers),
        "pairs": plan.pairs,
        "quality": bench_store.quality,
        "device": bench_store.computes_on,
        "set": list(options.setting or ()),
        "made_at_earlier_commits": sorted(results.makers - {bench_store.maker}),
    }


def _commit() -> str:
    """The commit that runs, marked where files differ from it; the version where there is no repository."""
    import subprocess

    here = Path(__file__).resolve().parents[2]
    ask = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        answer = subprocess.run(ask, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return f"dv {__version__}"
    is_own = (here / ".git").exists()
    return answer.stdout.strip() if is_own else f"dv {__version__}"


def _write(shell: Shell, folder: Path, results: "Results", facts: dict[str, Any]) -> None:
    from engine.benchmark.pages import document_of, markdown_of
    from engine.benchmark.run import write_text

    page, document = markdown_of(results, facts), document_of(results, facts)
    write_text(folder / "bench.md", page)
    write_text(folder / "bench.json", json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    info(shell, f"look at {folder / 'sheets'}: one picture a pair, every method below the other")
    show(shell, View(document, page.splitlines()))
