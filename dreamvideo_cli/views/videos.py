"""Videos, grids, their plans and their recipes as JSON and as lines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from dreamvideo_cli.generation.compare.grid import GridPlan
from dreamvideo_cli.generation.outputs import sidecar_path
from dreamvideo_cli.generation.recipe_file import (
    GridRecipe,
    VideoRecipe,
    guess_format,
    read_generate,
)
from dreamvideo_cli.terminal.output import View
from dreamvideo_cli.terminal.text import (
    field_lines,
    one_printable_line,
    size_text,
    table,
    time_text,
)
from dreamvideo_cli.terminal.warnings import warning_documents
from dreamvideo_cli.views.estimates import estimate_videos

if TYPE_CHECKING:
    from dreamvideo_cli.generation.plan import SamplingPlan, VideoPlan
    from dreamvideo_cli.generation.references import WeightedAdapter
    from dreamvideo_cli.views.estimates import Estimate
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
        **sampling_document(plan),
        "frames": recipe.frames,
        "fps": recipe.fps,
        "width_px": recipe.width_px,
        "height_px": recipe.height_px,
        "scale": plan.scale,
    }
    return View(document, [str(path)])


def plan_view(plan: VideoPlan, estimate: Estimate) -> View:
    """What `gen` would make."""
    outputs = [
        ("output", f"{path}  seed {each.seed}")
        for path, each in zip(plan.outputs.paths, plan.recipes, strict=True)
    ]
    fields = [*sampling_fields(plan), *settings_fields(plan), *estimate_fields(estimate)]
    return View(_plan_document(plan, estimate), field_lines([*fields, *_few(outputs)]))


def jobs_view(jobs: Sequence[tuple[str | int, VideoPlan, Estimate]], total: Estimate) -> View:
    """What all lines of `--jobs` would make: id, plan and forecast of each."""
    document = {
        "schema": "dv.plan/1",
        "command": "gen",
        "jobs": [{"id": job, **_plan_document(plan, each)} for job, plan, each in jobs],
        **estimate_document(jobs[0][1].device, total),
    }
    rows = [
        (str(job), str(recipe.seed), path.name, plan.prompt.sent)
        for job, plan, _ in jobs
        for path, recipe in zip(plan.outputs.paths, plan.recipes, strict=True)
    ]
    head = ("JOB", "SEED", "OUTPUT", "PROMPT")
    return View(document, [*field_lines(estimate_fields(total)), "", *table(head, rows)])


def grid_view(plan: GridPlan) -> View:
    """A grid that was made: the paths of its video and its picture."""
    paths = [str(path) for path in (plan.video, plan.sheet) if path]
    return View(_grid_document(plan), paths)


def grid_plan_view(plan: GridPlan) -> View:
    """What `grid` would make."""
    sampling = [column.sampling for column in plan.columns]
    estimate = estimate_videos(sampling)
    generate = _settings_document(sampling[0])
    document = {
        **_grid_document(plan),
        "schema": "dv.plan/1",
        "command": "grid",
        "generate": {name: value for name, value in generate.items() if name != "prompt"},
        **estimate_document(sampling[0].device, estimate),
    }
    fields = [
        *(("column", f"{column.name}: {column.sampling.prompt.sent}") for column in plan.columns),
        ("seeds", " ".join(str(seed) for seed in plan.seeds)),
        ("base", sampling[0].base.id),
        *settings_fields(sampling[0]),
        *estimate_fields(estimate),
        ("video", str(plan.video) if plan.video else ""),
        ("picture", str(plan.sheet)),
    ]
    return View(document, field_lines(fields))


def recipe_view(path: Path, recipe: VideoRecipe) -> View:
    """The recipe that a video carries."""
    generate = read_generate(recipe)
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
    return View(_carried_document("video", path, recipe), field_lines(fields))


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
    return View(_carried_document("grid", path, recipe), field_lines(fields))


def _plan_document(plan: VideoPlan, estimate: Estimate) -> dict[str, Any]:
    """A plan as JSON tells of it."""
    pairs = zip(plan.outputs.paths, plan.recipes, strict=True)
    return {
        "schema": "dv.plan/1",
        "command": "gen",
        "format": plan.outputs.format,
        "scale": plan.scale,
        **sampling_document(plan),
        "generate": _settings_document(plan),
        "videos": [{**_places(plan, path), "seed": recipe.seed} for path, recipe in pairs],
        **estimate_document(plan.device, estimate),
    }


def _places(plan: VideoPlan, path: Path) -> dict[str, str]:
    """Where a video lies, and its recipe where that was asked for."""
    beside = {"sidecar": str(sidecar_path(path))} if plan.sidecar else {}
    return {"path": str(path), **beside}


def sampling_document(sampling: SamplingPlan) -> dict[str, Any]:
    """What a video and a plan of it have in common."""
    changed = sampling.accelerator
    return {
        "prompt": sampling.typed,
        "prompt_sent": sampling.prompt.sent,
        "subjects": [_use_document(use) for use in sampling.uses if use.adapter.kind == "subject"],
        "motions": [_use_document(use) for use in sampling.uses if use.adapter.kind == "motion"],
        "base": {"id": sampling.base.id, "fingerprint": sampling.base.fingerprint},
        "accelerator": changed and {"name": changed.name, "digest": changed.digest},
        "warnings": warning_documents(sampling.warnings),
    }


def _settings_document(sampling: SamplingPlan) -> dict[str, Any]:
    """The recipe that all of the videos share."""
    generate: dict[str, Any] = msgspec.to_builtins(sampling.recipes[0])
    return {name: value for name, value in generate.items() if name != "seed"}


def estimate_document(device: str, estimate: Estimate) -> dict[str, Any]:
    """What the work will take; ``expected_seconds`` is null where nothing like it was done here before."""
    return {
        "device": device,
        "device_expected": estimate.device,
        "precision_expected": estimate.precision.partition(";")[0],
        "weights_bytes": estimate.weights_bytes,
        "expected_seconds": estimate.seconds and round(estimate.seconds, 1),
    }


def sampling_fields(sampling: SamplingPlan) -> list[tuple[str, str]]:
    """Who takes part, for people."""
    adapters = [
        (use.adapter.kind, f"{use.label}  weight {use.weight:g}  {use.phrase}")
        for use in sampling.uses
    ]
    changed = sampling.accelerator.name if sampling.accelerator else ""
    return [
        *adapters,
        ("base", sampling.base.id),
        ("accelerator", changed),
        ("prompt", sampling.prompt.sent),
    ]


def settings_fields(sampling: SamplingPlan) -> list[tuple[str, str]]:
    """The recipe that all of the videos share, for people."""
    return _recipe_fields(sampling.recipes[0], sampling.scale)


def _recipe_fields(recipe: GenerateRecipe, scale: int = 1) -> list[tuple[str, str]]:
    """How a video is sampled, for people."""
    size = f"{recipe.width_px}x{recipe.height_px}"
    if scale > 1:
        size += f", enlarged to {recipe.width_px * scale}x{recipe.height_px * scale}"
    before = f", {recipe.identity_early:g} of it before" if recipe.identity_early else ""
    late = f", identity from {recipe.identity_from:g}{before}" if recipe.identity_from else ""
    early = f", motion until {recipe.motion_until:g}" if recipe.motion_until < 1 else ""
    shares = [
        f"{kind} {share:g}" for kind, share in recipe.uncond_shares.items() if share is not None
    ]
    uncond = f", unconditional half {', '.join(shares)}" if shares else ""
    return [
        ("negative", recipe.negative),
        ("video", f"{recipe.frames} frames at {recipe.fps:g} fps, {size}"),
        (
            "sampling",
            f"{recipe.sampler}, {recipe.steps} steps, guidance {_guidance_text(recipe)}{late}{early}{uncond}",
        ),
        ("memory", "" if recipe.memory == "auto" else recipe.memory),
        ("changed by", f"sha256:{recipe.accelerator[:12]}" if recipe.accelerator else ""),
        ("batch", f"{recipe.batch} videos together" if recipe.batch > 1 else ""),
        ("look", _look_text(recipe)),
        *_source_fields(recipe),
    ]


def _source_fields(recipe: GenerateRecipe) -> list[tuple[str, str]]:
    """What a video is made from beside its prompt, for people."""
    source, inversion = recipe.source, recipe.inversion
    structure, reference = recipe.structure, recipe.reference
    fields = []
    if source:
        what = f"clip {_short(source.clip)}" if source.clip else f"photo {_short(source.photo)}"
        filmed = f", camera {source.camera}" if source.camera != "still" else ""
        steps = source.count_steps(recipe.steps)
        run = f"noise {source.noise:g}: the last {steps} of {recipe.steps} steps"
        fields.append(("made from", f"{what}{filmed}, {run}"))
    if inversion:
        prompt = f", told as {inversion.prompt!r}" if inversion.prompt else ""
        clip = f"clip {_short(inversion.clip)}, share {inversion.share:g}{prompt}"
        fields.append(("starts from", clip))
    if recipe.refine:
        fields.append(("refined", f"{recipe.refine} times, {recipe.count_steps()} steps in all"))
    if structure:
        span = f"steps from {structure.since:g} until {structure.until:g}"
        drawn = f"{structure.kind} by ControlNet {_short(structure.model)}"
        clip = f"clip {_short(structure.clip)}, {drawn}, scale {structure.scale:g}, {span}"
        fields.append(("laid out by", clip))
    if reference:
        pairs = zip(reference.photos, reference.weights, strict=True)
        photos = ", ".join(f"{_short(photo)}={weight:g}" for photo, weight in pairs)
        where = f"{reference.blocks} blocks, until {reference.until:g}, {reference.guidance}"
        fields.append(("reads", f"photos {photos} as {reference.prompt!r}; {where}"))
    return fields


def _short(digest: str | None) -> str:
    return f"sha256:{(digest or '')[:12]}"


def _guidance_text(recipe: GenerateRecipe) -> str:
    """``4, then 3, shift 5``: of both experts of a base that has two, its interval, and a shift of one's own."""
    low = "" if recipe.guidance_low is None else f", then {recipe.guidance_low:g}"
    shift = "" if recipe.shift is None else f", shift {recipe.shift:g}"
    first, last = recipe.guidance_from, recipe.guidance_until
    when = "" if (first, last) == (0, 1) else f" from {first:g} until {last:g} of the steps"
    return f"{recipe.guidance:g}{low}{when}{shift}"


def _look_text(recipe: GenerateRecipe) -> str:
    """Of which photo and how strongly the motions are told; nothing where it is the subject's own, as learned."""
    whose = f"photo sha256:{recipe.appearance_photo[:12]}" if recipe.appearance_photo else ""
    strength = "" if recipe.appearance == 1 else f"strength {recipe.appearance:g}"
    return ", ".join(part for part in (whose, strength) if part)


def estimate_fields(estimate: Estimate) -> list[tuple[str, str]]:
    """What the work will take, for people."""
    wait = "not known: this base has made nothing here yet"
    if estimate.seconds is not None:
        wait = f"about {time_text(estimate.seconds)}, going by earlier videos"
    return [
        ("device", estimate.device),
        ("precision", estimate.precision),
        ("memory", f"{size_text(estimate.weights_bytes)} for the weights; frames come on top"),
        ("time", wait),
    ]


def _use_document(use: WeightedAdapter) -> dict[str, Any]:
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
            {"label": column.name, **sampling_document(column.sampling)} for column in plan.columns
        ],
        "seeds": list(plan.seeds),
    }


def _carried_document(what: str, path: Path, recipe: VideoRecipe | GridRecipe) -> dict[str, Any]:
    """What a file carries as JSON tells of it."""
    return {
        "schema": "dv.inspect/1",
        "what": what,
        "path": str(path),
        "format": guess_format(path),
        "recipe": _printable(msgspec.to_builtins(recipe)),
    }
