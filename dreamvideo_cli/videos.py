"""Videos as JSON and people are told of them, made or planned."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dreamvideo_cli.fitness import warning_documents
from dreamvideo_cli.output import facts, size_text, time_text
from dreamvideo_cli.outputs import sidecar_of

if TYPE_CHECKING:
    from dreamvideo_cli.forecast import Forecast
    from dreamvideo_cli.plan import Takes, VideoPlan
    from dreamvideo_cli.uses import Use
    from engine.bases import BaseLocation
    from engine.recipe import GenerateRecipe

RECIPE_SCHEMA = "dv.recipe/1"


def recipe_document(
    base: BaseLocation, uses: Sequence[Use], recipe: GenerateRecipe
) -> dict[str, Any]:
    """What decides the video's pixels, and nothing else: no time, no place on this machine."""
    import msgspec

    return {
        "schema": RECIPE_SCHEMA,
        "base": base_document(base),
        "adapters": [adapter_use(use) for use in uses],
        "generate": msgspec.to_builtins(recipe),
        "versions": versions(),
    }


def base_document(base: BaseLocation) -> dict[str, str]:
    """The base without its place on this machine."""
    from engine.bases.catalog import is_path

    name = Path(base.id).name if is_path(base.id) else base.id
    return {"id": name, "fingerprint": base.fingerprint}


def adapter_use(use: Use) -> dict[str, Any]:
    """An adapter in a recipe; ``phrase`` is what stands for it in the prompt."""
    return {
        "kind": use.adapter.kind,
        "ref": str(use.adapter),
        "weight": use.weight,
        "phrase": use.phrase,
    }


def versions() -> dict[str, str]:
    """Of what the pixels depend on beside the recipe."""
    from importlib.metadata import version

    from dreamvideo_cli import __version__

    return {"dv": __version__, "torch": version("torch"), "diffusers": version("diffusers")}


def canonical(document: dict[str, Any]) -> str:
    """JSON in the one spelling that equal documents share."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def video_document(plan: VideoPlan, recipe: GenerateRecipe, path: Path) -> dict[str, Any]:
    """A video as JSON tells of it."""
    return {
        "schema": "dv.video/1",
        **_places(plan, path),
        "seed": recipe.seed,
        "format": plan.outputs.format,
        **takes_document(plan),
        "frames": recipe.frames,
        "fps": recipe.fps,
        "width_px": recipe.width_px,
        "height_px": recipe.height_px,
    }


def plan_document(plan: VideoPlan, forecast: Forecast) -> dict[str, Any]:
    """A plan as JSON tells of it."""
    pairs = zip(plan.outputs.paths, plan.recipes, strict=True)
    return {
        "schema": "dv.plan/1",
        "command": "gen",
        "format": plan.outputs.format,
        **takes_document(plan),
        "generate": settings_document(plan),
        "videos": [{**_places(plan, path), "seed": recipe.seed} for path, recipe in pairs],
        **forecast_document(plan.device, forecast),
    }


def _places(plan: VideoPlan, path: Path) -> dict[str, str]:
    """Where a video lies, and its recipe where that was asked for."""
    beside = {"sidecar": str(sidecar_of(path))} if plan.sidecar else {}
    return {"path": str(path), **beside}


def takes_document(takes: Takes) -> dict[str, Any]:
    """What a video and a plan of it have in common."""
    return {
        "prompt": takes.typed,
        "prompt_sent": takes.prompt.sent,
        "subjects": [_use_document(use) for use in takes.uses if use.adapter.kind == "subject"],
        "motions": [_use_document(use) for use in takes.uses if use.adapter.kind == "motion"],
        "base": {"id": takes.base.id, "fingerprint": takes.base.fingerprint},
        "warnings": warning_documents(takes.warnings),
    }


def settings_document(takes: Takes) -> dict[str, Any]:
    """The recipe that all of the videos share."""
    import msgspec

    generate: dict[str, Any] = msgspec.to_builtins(takes.recipes[0])
    return {name: value for name, value in generate.items() if name != "seed"}


def forecast_document(device: str, forecast: Forecast) -> dict[str, Any]:
    """What the work will take; ``expected_seconds`` is null where nothing like it was done here before."""
    return {
        "device": device,
        "device_expected": forecast.device,
        "weights_bytes": forecast.weights_bytes,
        "expected_seconds": forecast.seconds and round(forecast.seconds, 1),
    }


def plan_lines(plan: VideoPlan, forecast: Forecast) -> list[str]:
    """A plan for people."""
    outputs = [
        ("output", f"{path}  seed {each.seed}")
        for path, each in zip(plan.outputs.paths, plan.recipes, strict=True)
    ]
    return facts(
        [*takes_pairs(plan), *settings_pairs(plan), *forecast_pairs(forecast), *_few(outputs)]
    )


def takes_pairs(takes: Takes) -> list[tuple[str, str]]:
    """Who takes part, for people."""
    adapters = [
        (use.adapter.kind, f"{use.label}  weight {use.weight:g}  {use.phrase}")
        for use in takes.uses
    ]
    return [*adapters, ("base", takes.base.id), ("prompt", takes.prompt.sent)]


def settings_pairs(takes: Takes) -> list[tuple[str, str]]:
    """The recipe that all of the videos share, for people."""
    return recipe_pairs(takes.recipes[0])


def recipe_pairs(recipe: GenerateRecipe) -> list[tuple[str, str]]:
    """How a video is sampled, for people."""
    size = f"{recipe.width_px}x{recipe.height_px}"
    late = f", identity from {recipe.identity_from:g}" if recipe.identity_from else ""
    early = f", motion until {recipe.motion_until:g}" if recipe.motion_until < 1 else ""
    return [
        ("negative", recipe.negative),
        ("video", f"{recipe.frames} frames at {recipe.fps:g} fps, {size}"),
        (
            "sampling",
            f"{recipe.sampler}, {recipe.steps} steps, guidance {recipe.guidance:g}{late}{early}",
        ),
        ("look", _look_text(recipe)),
    ]


def _look_text(recipe: GenerateRecipe) -> str:
    """Of which photo and how strongly the motions are told; nothing where it is the subject's own, as learned."""
    whose = f"photo sha256:{recipe.appearance_photo[:12]}" if recipe.appearance_photo else ""
    strength = "" if recipe.appearance == 1 else f"strength {recipe.appearance:g}"
    return ", ".join(part for part in (whose, strength) if part)


def forecast_pairs(forecast: Forecast) -> list[tuple[str, str]]:
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
