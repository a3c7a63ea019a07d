"""Videos, grids, their plans and their recipes as JSON and as lines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from dreamvideo_cli.generation.grid import GridPlan
from dreamvideo_cli.generation.outputs import sidecar_of
from dreamvideo_cli.generation.recipe_file import GridRecipe, VideoRecipe, format_of, generate_of
from dreamvideo_cli.terminal.output import View
from dreamvideo_cli.terminal.text import facts, one_printable_line, size_text, table, time_text
from dreamvideo_cli.terminal.warnings import warning_documents
from dreamvideo_cli.views.estimates import foresee

if TYPE_CHECKING:
    from dreamvideo_cli.generation.plan import Takes, VideoPlan
    from dreamvideo_cli.generation.references import Use
    from dreamvideo_cli.views.estimates import Forecast
    from engine.recipe import GenerateRecipe


def video_view(
    plan: VideoPlan, recipe: GenerateRecipe, path: Path, job: str | int | None = None
) -> View:
    """A video that was made: its path; ``job`` is the id of its line of `--jobs`."""
    document = {
        "schema": "dv.video/1",
        **({} if job is None else {"id": job}),
        **_places(plan, path),
        "seed": recipe.seed,
        "format": plan.outputs.format,
        **_takes_document(plan),
        "frames": recipe.frames,
        "fps": recipe.fps,
        "width_px": recipe.width_px,
        "height_px": recipe.height_px,
        "scale": plan.scale,
    }
    return View(document, [str(path)])


def plan_view(plan: VideoPlan, forecast: Forecast) -> View:
    """What `gen` would make."""
    outputs = [
        ("output", f"{path}  seed {each.seed}")
        for path, each in zip(plan.outputs.paths, plan.recipes, strict=True)
    ]
    fields = [*_takes_fields(plan), *_settings_fields(plan), *_forecast_fields(forecast)]
    return View(_plan_document(plan, forecast), facts([*fields, *_few(outputs)]))


def jobs_view(jobs: Sequence[tuple[str | int, VideoPlan, Forecast]], total: Forecast) -> View:
    """What all lines of `--jobs` would make: id, plan and forecast of each."""
    document = {
        "schema": "dv.plan/1",
        "command": "gen",
        "jobs": [{"id": job, **_plan_document(plan, each)} for job, plan, each in jobs],
        **_forecast_document(jobs[0][1].device, total),
    }
    rows = [
        (str(job), str(recipe.seed), path.name, plan.prompt.sent)
        for job, plan, _ in jobs
        for path, recipe in zip(plan.outputs.paths, plan.recipes, strict=True)
    ]
    head = ("JOB", "SEED", "OUTPUT", "PROMPT")
    return View(document, [*facts(_forecast_fields(total)), "", *table(head, rows)])


def grid_view(plan: GridPlan) -> View:
    """A grid that was made: the paths of its video and its picture."""
    paths = [str(path) for path in (plan.video, plan.sheet) if path]
    return View(_grid_document(plan), paths)


def grid_plan_view(plan: GridPlan) -> View:
    """What `grid` would make."""
    takes = [column.takes for column in plan.columns]
    forecast = foresee(takes)
    generate = _settings_document(takes[0])
    document = {
        **_grid_document(plan),
        "schema": "dv.plan/1",
        "command": "grid",
        "generate": {name: value for name, value in generate.items() if name != "prompt"},
        **_forecast_document(takes[0].device, forecast),
    }
    fields = [
        *(("column", f"{column.name}: {column.takes.prompt.sent}") for column in plan.columns),
        ("seeds", " ".join(str(seed) for seed in plan.seeds)),
        ("base", takes[0].base.id),
        *_settings_fields(takes[0]),
        *_forecast_fields(forecast),
        ("video", str(plan.video) if plan.video else ""),
        ("picture", str(plan.sheet)),
    ]
    return View(document, facts(fields))


def recipe_view(path: Path, recipe: VideoRecipe) -> View:
    """The recipe that a video carries."""
    generate = generate_of(recipe)
    adapters = [(each.kind, f"{each.ref}  weight {each.weight:g}") for each in recipe.adapters]
    threads = "1 thread" if generate.threads == 1 else f"{generate.threads} threads"
    fields = [
        ("prompt", generate.prompt),
        *adapters,
        ("base", f"{recipe.base.id}  {recipe.base.fingerprint[:12]}"),
        *_recipe_fields(generate, recipe.scale),
        ("seed", f"{generate.seed}"),
        ("precision", f"{generate.precision}, {threads}"),
        ("made by", ", ".join(f"{name} {number}" for name, number in recipe.versions.items())),
    ]
    return View(_carried_document("video", path, recipe), facts(fields))


def grid_recipe_view(path: Path, recipe: GridRecipe) -> View:
    """The recipe that a grid carries."""
    columns = []
    for note in recipe.columns:
        uses = "  ".join(f"{each.label}={each.weight:g}" for each in note.adapters)
        columns.append(("column", f"{note.label}: {note.prompt}  {uses}"))
    fields = [
        ("grid of", recipe.prompt),
        *columns,
        ("seeds", " ".join(str(seed) for seed in recipe.seeds)),
        ("base", f"{recipe.base.id}  {recipe.base.fingerprint[:12]}"),
    ]
    return View(_carried_document("grid", path, recipe), facts(fields))


def _plan_document(plan: VideoPlan, forecast: Forecast) -> dict[str, Any]:
    """A plan as JSON tells of it."""
    pairs = zip(plan.outputs.paths, plan.recipes, strict=True)
    return {
        "schema": "dv.plan/1",
        "command": "gen",
        "format": plan.outputs.format,
        "scale": plan.scale,
        **_takes_document(plan),
        "generate": _settings_document(plan),
        "videos": [{**_places(plan, path), "seed": recipe.seed} for path, recipe in pairs],
        **_forecast_document(plan.device, forecast),
    }


def _places(plan: VideoPlan, path: Path) -> dict[str, str]:
    """Where a video lies, and its recipe where that was asked for."""
    beside = {"sidecar": str(sidecar_of(path))} if plan.sidecar else {}
    return {"path": str(path), **beside}


def _takes_document(takes: Takes) -> dict[str, Any]:
    """What a video and a plan of it have in common."""
    return {
        "prompt": takes.typed,
        "prompt_sent": takes.prompt.sent,
        "subjects": [_use_document(use) for use in takes.uses if use.adapter.kind == "subject"],
        "motions": [_use_document(use) for use in takes.uses if use.adapter.kind == "motion"],
        "base": {"id": takes.base.id, "fingerprint": takes.base.fingerprint},
        "warnings": warning_documents(takes.warnings),
    }


def _settings_document(takes: Takes) -> dict[str, Any]:
    """The recipe that all of the videos share."""
    generate: dict[str, Any] = msgspec.to_builtins(takes.recipes[0])
    return {name: value for name, value in generate.items() if name != "seed"}


def _forecast_document(device: str, forecast: Forecast) -> dict[str, Any]:
    """What the work will take; ``expected_seconds`` is null where nothing like it was done here before."""
    return {
        "device": device,
        "device_expected": forecast.device,
        "weights_bytes": forecast.weights_bytes,
        "expected_seconds": forecast.seconds and round(forecast.seconds, 1),
    }


def _takes_fields(takes: Takes) -> list[tuple[str, str]]:
    """Who takes part, for people."""
    adapters = [
        (use.adapter.kind, f"{use.label}  weight {use.weight:g}  {use.phrase}")
        for use in takes.uses
    ]
    return [*adapters, ("base", takes.base.id), ("prompt", takes.prompt.sent)]


def _settings_fields(takes: Takes) -> list[tuple[str, str]]:
    """The recipe that all of the videos share, for people."""
    return _recipe_fields(takes.recipes[0], takes.scale)


def _recipe_fields(recipe: GenerateRecipe, scale: int = 1) -> list[tuple[str, str]]:
    """How a video is sampled, for people."""
    size = f"{recipe.width_px}x{recipe.height_px}"
    if scale > 1:
        size += f", enlarged to {recipe.width_px * scale}x{recipe.height_px * scale}"
    late = f", identity from {recipe.identity_from:g}" if recipe.identity_from else ""
    early = f", motion until {recipe.motion_until:g}" if recipe.motion_until < 1 else ""
    return [
        ("negative", recipe.negative),
        ("video", f"{recipe.frames} frames at {recipe.fps:g} fps, {size}"),
        (
            "sampling",
            f"{recipe.sampler}, {recipe.steps} steps, guidance {_guidance_text(recipe)}{late}{early}",
        ),
        ("look", _look_text(recipe)),
    ]


def _guidance_text(recipe: GenerateRecipe) -> str:
    """``4, then 3, shift 5``: of both experts of a base that has two, and a shift that is not the base's own."""
    low = "" if recipe.guidance_low is None else f", then {recipe.guidance_low:g}"
    shift = "" if recipe.shift is None else f", shift {recipe.shift:g}"
    return f"{recipe.guidance:g}{low}{shift}"


def _look_text(recipe: GenerateRecipe) -> str:
    """Of which photo and how strongly the motions are told; nothing where it is the subject's own, as learned."""
    whose = f"photo sha256:{recipe.appearance_photo[:12]}" if recipe.appearance_photo else ""
    strength = "" if recipe.appearance == 1 else f"strength {recipe.appearance:g}"
    return ", ".join(part for part in (whose, strength) if part)


def _forecast_fields(forecast: Forecast) -> list[tuple[str, str]]:
    """What the work will take, for people."""
    wait = "not known: this base has made nothing here yet"
    if forecast.seconds is not None:
        wait = f"about {time_text(forecast.seconds)}, going by earlier videos"
    return [
        ("device", forecast.device),
        ("memory", f"{size_text(forecast.weights_bytes)} for the weights; frames come on top"),
        ("time", wait),
    ]


def _use_document(use: Use) -> dict[str, Any]:
    return {"ref": str(use.adapter), "weight": use.weight, "phrase": use.phrase}


def _few(pairs: Sequence[tuple[str, str]], most: int = 20) -> list[tuple[str, str]]:
    """The first of many pairs, and how many more there are."""
    kept = list(pairs[:most])
    return kept if len(pairs) <= most else [*kept, ("and", f"{len(pairs) - most} more")]


def _printable(value: Any) -> Any:
    """A document of a stranger's with nothing in it that could move a cursor."""
    if isinstance(value, dict):
        return {one_printable_line(key): _printable(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_printable(inner) for inner in value]
    return one_printable_line(value) if isinstance(value, str) else value


def _grid_document(plan: GridPlan) -> dict[str, Any]:
    """A grid as JSON tells of it."""
    return {
        "schema": "dv.grid/1",
        "path": str(plan.video) if plan.video else None,
        "sheet": str(plan.sheet),
        "format": plan.format,
        "columns": [
            {"label": column.name, **_takes_document(column.takes)} for column in plan.columns
        ],
        "seeds": list(plan.seeds),
    }


def _carried_document(what: str, path: Path, recipe: VideoRecipe | GridRecipe) -> dict[str, Any]:
    """What a file carries as JSON tells of it."""
    return {
        "schema": "dv.inspect/1",
        "what": what,
        "path": str(path),
        "format": format_of(path),
        "recipe": _printable(msgspec.to_builtins(recipe)),
    }
