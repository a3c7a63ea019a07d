"""`dv gen`: a prompt, subjects and motions in; videos out."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from dreamvideo_cli.options import Precision, Shell
from dreamvideo_cli.output import facts, print_json, print_lines, print_result, say, say_more
from dreamvideo_cli.outputs import next_free
from dreamvideo_cli.plan import VideoPlan, plan_videos
from dreamvideo_cli.progress import show_progress
from dreamvideo_cli.settings import open_registry
from dreamvideo_cli.silence import silent_libraries
from dreamvideo_cli.uses import Use

if TYPE_CHECKING:
    from engine.progress import Progress
    from engine.recipe import GenerateRecipe


@dataclass(frozen=True, slots=True)
class VideoOptions:
    """What to make; every value left out is the base card's or the recipe's."""

    prompt: Annotated[
        str, typer.Argument(metavar="PROMPT", help="What is to be seen; names stand for adapters.")
    ]
    subject: Annotated[
        list[str] | None,
        typer.Option(
            "--subject", metavar="REF[=WEIGHT]", help="A learned subject; repeat to compose."
        ),
    ] = None
    motion: Annotated[
        list[str] | None,
        typer.Option(
            "--motion", metavar="REF[=WEIGHT]", help="A learned motion; repeat to compose."
        ),
    ] = None
    negative: Annotated[str | None, typer.Option(help="What is not to be seen.")] = None
    frames: Annotated[int | None, typer.Option(metavar="N", help="Number of frames.")] = None
    fps: Annotated[float | None, typer.Option(metavar="N", help="Frames a second.")] = None
    size: Annotated[str | None, typer.Option(metavar="WxH", help="Pixels, such as 256x256.")] = None
    steps: Annotated[int | None, typer.Option(metavar="N", help="Denoising steps.")] = None
    guidance: Annotated[
        float | None, typer.Option(metavar="F", help="How closely the prompt is followed.")
    ] = None
    sampler: Annotated[
        Literal["ddim", "dpm++"] | None, typer.Option(help="How noise is removed.")
    ] = None
    seed: Annotated[str, typer.Option(metavar="N|A..B|random", help="One video a seed.")] = "0"
    count: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Videos, counting up from the seed.")
    ] = None
    appearance: Annotated[
        float | None,
        typer.Option(
            metavar="F", min=0, max=10, help="Strength of the subject's look in the motion."
        ),
    ] = None
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FILE|DIR", help="Where the video goes.")
    ] = None
    format: Annotated[
        Literal["mp4", "gif", "webp", "png"] | None,
        typer.Option(help="By default the suffix of -o."),
    ] = None
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the file that -o names.")
    ] = False
    precision: Annotated[Precision, typer.Option(help="Numbers to compute with.")] = "auto"
    device: Annotated[
        str,
        typer.Option(metavar="auto|cpu|cuda[:N]|mps", envvar="DV_DEVICE", help="Where to compute."),
    ] = "auto"
    base: Annotated[
        str | None, typer.Option(metavar="BASE", help="By default the base of the adapters.")
    ] = None
    image_tower: Annotated[
        str | None, typer.Option(metavar="DIR|ID", help="CLIP image tower of a base without one.")
    ] = None
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Check all, show the plan, stop.")
    ] = False


def gen(options: VideoOptions, shell: Shell) -> None:
    """Make videos of learned subjects doing learned motions.

    Example: dv gen "a corgi skate" --subject corgi --motion skate -o out.mp4
    """
    plan = plan_videos(open_registry(shell), options)
    for note in plan.notes:
        say(shell, note)
    say_more(shell, f"base {plan.base.id} at {plan.base.folder}, {plan.base.fingerprint}")
    if options.dry_run:
        print_result(shell, plan_document(plan), plan_lines(plan))
        return
    say(shell, f"loading {plan.base.id} …")
    with show_progress(shell) as progress, silent_libraries():
        for video in make_videos(plan, progress):
            if shell.json:
                print_json(video_document(plan, video.recipe, video.path))
            else:
                print_lines([str(video.path)])


@dataclass(frozen=True, slots=True)
class Video:
    """A video on the disk; ``frames`` is uint8 (f, h, w, 3)."""

    recipe: "GenerateRecipe"
    path: Path
    frames: Any


def make_videos(plan: VideoPlan, progress: "Progress") -> Iterator[Video]:
    """Make the plan's videos one after the other; each is on the disk when it is handed out.

    Raises:
        EngineError: see `engine.generate` and `engine.media.write`.
    """
    from engine.generate import AdapterUse, open_generator
    from engine.media.write import write_video

    uses = [AdapterUse(use.file, use.adapter.kind, use.weight) for use in plan.uses]
    precision = plan.recipes[0].precision
    with open_generator(
        plan.base, uses, precision=precision, device=plan.device, progress=progress
    ) as generator:
        for recipe, planned in zip(plan.recipes, plan.outputs.paths, strict=True):
            frames = generator.sample(recipe)
            settled = generator.settled(recipe)
            path = write_video(
                frames,
                next_free(planned) if plan.outputs.automatic else planned,
                fps=recipe.fps,
                format=plan.outputs.format,
                comment=canonical(recipe_document(plan, settled)),
                overwrite=plan.overwrite and not plan.outputs.automatic,
            )
            yield Video(settled, path, frames)


def recipe_document(plan: VideoPlan, recipe: "GenerateRecipe") -> dict[str, Any]:
    """What decides the video's pixels, and nothing else: no time, no place on this machine."""
    import msgspec

    from engine.bases.catalog import is_path

    base_id = plan.base.id
    return {
        "schema": "dv.recipe/1",
        "base": {
            "id": Path(base_id).name if is_path(base_id) else base_id,
            "fingerprint": plan.base.fingerprint,
        },
        "adapters": [
            {"kind": use.adapter.kind, "ref": str(use.adapter), "weight": use.weight}
            for use in plan.uses
        ],
        "generate": msgspec.to_builtins(recipe),
    }


def canonical(document: dict[str, Any]) -> str:
    """JSON in the one spelling that equal documents share."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def video_document(plan: VideoPlan, recipe: "GenerateRecipe", path: Path) -> dict[str, Any]:
    """A video as JSON tells of it."""
    return {
        "schema": "dv.video/1",
        "path": str(path),
        "seed": recipe.seed,
        **_common_document(plan),
        "frames": recipe.frames,
        "fps": recipe.fps,
        "width_px": recipe.width_px,
        "height_px": recipe.height_px,
    }


def plan_document(plan: VideoPlan) -> dict[str, Any]:
    """A plan as JSON tells of it."""
    import msgspec

    generate = msgspec.to_builtins(plan.recipes[0])
    del generate["seed"]
    pairs = zip(plan.outputs.paths, plan.recipes, strict=True)
    return {
        "schema": "dv.plan/1",
        "command": "gen",
        **_common_document(plan),
        "generate": generate,
        "videos": [{"path": str(path), "seed": recipe.seed} for path, recipe in pairs],
    }


def _common_document(plan: VideoPlan) -> dict[str, Any]:
    return {
        "format": plan.outputs.format,
        "prompt": plan.typed,
        "prompt_sent": plan.prompt.sent,
        "subjects": [_use_document(use) for use in plan.uses if use.adapter.kind == "subject"],
        "motions": [_use_document(use) for use in plan.uses if use.adapter.kind == "motion"],
        "base": {"id": plan.base.id, "fingerprint": plan.base.fingerprint},
    }


def plan_lines(plan: VideoPlan) -> list[str]:
    """A plan for people."""
    recipe = plan.recipes[0]
    pairs = [
        *(
            (use.adapter.kind, f"{use.label}  weight {use.weight:g}  {use.phrase}")
            for use in plan.uses
        ),
        ("base", plan.base.id),
        ("prompt", plan.prompt.sent),
        ("negative", recipe.negative),
        (
            "video",
            f"{recipe.frames} frames at {recipe.fps:g} fps, {recipe.width_px}x{recipe.height_px}",
        ),
        ("sampling", f"{recipe.sampler}, {recipe.steps} steps, guidance {recipe.guidance:g}"),
        *(
            ("output", f"{path}  seed {each.seed}")
            for path, each in zip(plan.outputs.paths, plan.recipes, strict=True)
        ),
    ]
    return facts(pairs)


def _use_document(use: Use) -> dict[str, Any]:
    return {"ref": str(use.adapter), "weight": use.weight, "phrase": use.phrase}
