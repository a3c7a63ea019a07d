"""The options of `dv gen` and `dv grid`: who takes part, how it is sampled, and what it is made from."""

import random
import re
from dataclasses import dataclass, fields
from functools import partial
from typing import Annotated, Any, Literal

import typer

from dreamvideo_cli.errors import UsageError
from dreamvideo_cli.terminal.options import (
    MACHINE,
    OUTPUT,
    SAMPLING,
    SOURCES,
    Anyway,
    Device,
    DryRun,
    ImageTower,
    MotionModule,
    Precision,
    Prompt,
    option,
)
from engine.recipe import MOST_TOGETHER

GREATEST_SEED = 2**32 - 1
MOST_VIDEOS = 10_000
# `--batch auto`: more gain little, and 4 videos of 16 frames of 256x256 px fill a large GPU.
MOST_BY_ITSELF, MOST_PIXELS = 4, 4 << 20

_sampling = partial(option, panel=SAMPLING)
_fraction = partial(_sampling, metavar="F", min=0, max=1)
_output = partial(option, panel=OUTPUT)
_machine = partial(option, panel=MACHINE)
_sources = partial(option, panel=SOURCES)
_source_share = partial(_sources, metavar="F", min=0, max=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingOptions:
    """Who takes part and how it is sampled; every value left out is the base card's or the recipe's."""

    subject: list[str] | None = option(
        "A learned subject; repeat to compose.", metavar="REF[=WEIGHT]"
    )
    motion: list[str] | None = option(
        "A learned motion; repeat to compose.", metavar="REF[=WEIGHT]"
    )
    output: str | None = option("Where the video goes.", "--output", "-o", metavar="FILE|DIR|-")
    negative: str | None = _sampling("What is not to be seen.", metavar="TEXT")
    frames: int | None = _sampling("Number of frames.", metavar="N")
    fps: float | None = _sampling("Frames a second.", metavar="N")
    size: str | None = _sampling("Pixels, such as 256x256.", metavar="WxH")
    steps: int | None = _sampling("Denoising steps.", metavar="N")
    guidance: float | None = _sampling("How closely the prompt is followed.", metavar="F")
    guidance_low: float | None = _sampling(
        "On a base of two experts: guidance of the one for little noise.", metavar="F"
    )
    guidance_from: float | None = _fraction("Fraction of the steps after which there is guidance.")
    guidance_until: float | None = _fraction(
        "Fraction of the steps after which there is none: half the work for the rest."
    )
    identity_from: float | None = _fraction(
        "With a motion: fraction of the steps after which the subject's look acts."
    )
    identity_early: float | None = _fraction(
        "With a motion: share of the subject's weight before --identity-from."
    )
    motion_until: float | None = _fraction(
        "With a subject: fraction of the steps after which the motion no longer acts."
    )
    subject_uncond: float | None = _fraction(
        "Share of the subject's weight in guidance's other half; 0 leads towards the subject most."
    )
    motion_uncond: float | None = _fraction("The same of the motion.")
    sampler: Literal["ddim", "dpm++", "unipc", "euler"] | None = _sampling("How noise is removed.")
    shift: float | None = _sampling(
        "On a base of flow matching: more steps at much noise.", metavar="F"
    )
    accelerator: str | None = _sampling(
        "A change of the base that needs fewer steps; on mini: mini-4. With --again none takes it off.",
        metavar="REF|PATH|none",
    )
    appearance: str | None = _sampling(
        "How strongly, 0 to 10, the motion is told of the subject's look, or of a photo's.",
        metavar="F|PHOTO[=F]",
    )
    format: Literal["mp4", "gif", "webp", "png"] | None = _output(
        "By default the suffix of -o, or mp4."
    )
    overwrite: bool = _output("Replace the file that -o names.", default=False)
    precision: Precision | None = _machine("Numbers to compute with; by default auto.")
    device: Device = "auto"
    memory: Literal["low", "auto", "high"] | None = _machine(
        "low works in slices, high never does, auto where memory runs out."
    )
    batch: str | None = _machine(
        "Videos that share each call of the network; quicker, and last bits may differ.",
        metavar="auto|N",
    )
    base: str | None = _machine("By default the base of the adapters.", metavar="BASE")
    image_tower: ImageTower = None
    motion_module: MotionModule = None
    anyway: Anyway = False


@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """What a video is made from beside its prompt; without slots, as another base of its subclass has them."""

    edit: str | None = _sources("Make it anew from a clip under --noise.", metavar="CLIP")
    animate: str | None = _sources("Make it from a photo under --noise.", metavar="PHOTO")
    camera: Literal["still", "in", "out", "left", "right", "up", "down"] | None = _sources(
        "How the photo of --animate is filmed; by default still."
    )
    noise: float | None = _source_share(
        "Share of the steps that are run, by default .7: 1 forgets the file, 0 keeps it."
    )
    start_from: str | None = _sources(
        "Begin with the noise from which the motion's clip, or another, comes; its share is F, or .1.",
        metavar="motion|CLIP[=F]",
    )
    refine: int | None = _sources(
        "Sample N times more, each time more steadily.", metavar="N", min=0, max=10
    )
    structure: str | None = _sources(
        "Follow a clip's layout, by --structure-model.", metavar="CLIP"
    )
    structure_model: str | None = _sources("The ControlNet that lays it out.", metavar="DIR|ID")
    structure_kind: Literal["canny", "luma", "depth", "as-is"] | None = _sources(
        "What it is shown of the clip; by default canny, edges."
    )
    depth_model: str | None = _sources("The model that sees depth for that kind.", metavar="DIR|ID")
    structure_scale: float | None = _sources(
        "How strongly; by default 1.", metavar="F", min=0, max=2
    )
    structure_from: float | None = _source_share("Fraction of the steps from which on it acts.")
    structure_until: float | None = _source_share(
        "Fraction of the steps after which it no longer does; .5."
    )
    reference: list[str] | None = _sources(
        "Let the base read a photo as it draws; repeat it.", metavar="PHOTO[=F]"
    )
    reference_mask: str | None = _sources("Masks of these photos, by their names.", metavar="DIR")
    reference_blocks: Literal["midup", "full"] | None = _sources(
        "In the late layers, as by default, or in all."
    )
    reference_until: float | None = _source_share("Fraction of the steps after which none is read.")
    reference_guidance: Literal["cond", "both"] | None = _sources(
        "Which half of guidance reads them."
    )


@dataclass(frozen=True, slots=True)
class VideoOptions(SamplingOptions, SourceOptions):
    """What `dv gen` makes."""

    prompt: Annotated[
        str | None,
        typer.Argument(metavar="PROMPT", help="What is to be seen; names stand for adapters."),
    ] = None
    seed: str | None = option("One video a seed; by default 0.", metavar="N|A..B|random")
    count: int | None = option("Videos, counting up from the seed.", metavar="N", min=1)
    again: str | None = option("Make a video again; other flags override.", metavar="VIDEO")
    jobs: str | None = option(
        "Videos by a JSON object a line, named as flags are; flags hold for all.", metavar="FILE|-"
    )
    keep_going: bool = option("Take jobs as they come; exit 9 where some failed.", default=False)
    sidecar: bool = _output("Write the recipe beside each video too: out.mp4.json.", default=False)
    scale: int | None = _output(
        "Enlarge for viewing: each pixel becomes N by N pixels.", metavar="N", min=1, max=16
    )
    dry_run: DryRun = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GridOptions(SamplingOptions):
    """What `dv grid` compares; the rest is as for `dv gen`."""

    prompt: Prompt
    subject: list[str] | None = option(
        "Learned subjects; a comma composes, repeating makes a column.", metavar="REF[,REF…]"
    )
    motion: list[str] | None = option(
        "Learned motions; a comma composes, repeating makes a column.", metavar="REF[,REF…]"
    )
    weights: str | None = option("A column each, of every adapter without =WEIGHT.", metavar="F,F…")
    seeds: str = option("One row a seed.", "--seeds", "--seed", default="0", metavar="N|A..B")
    dry_run: DryRun = False


def video_options(options: SamplingOptions, prompt: str, seeds: str, **own: Any) -> VideoOptions:
    """The options of `dv gen` for videos of a grid or a search, with what is its ``own`` in place of theirs."""
    names = [field.name for field in fields(SamplingOptions)]
    shared = {name: getattr(options, name) for name in names} | own
    return VideoOptions(prompt=prompt, seed=seeds, **shared)


def read_size(text: str | None) -> dict[str, int]:
    """``320x256`` to width and height in pixels.

    Raises:
        UsageError: it is not written so.
    """
    if text is None:
        return {}
    match = re.fullmatch(r"(\d{1,5})[x×](\d{1,5})", text)
    if not match:
        raise UsageError(f"--size {text!r} is not WIDTHxHEIGHT", hint="for example --size 256x256")
    return {"width_px": int(match[1]), "height_px": int(match[2])}


def read_batch(text: str | None, pixels: int) -> int | None:
    """How many videos share a call of the network; None leaves it as it is.

    Args:
        text: ``auto`` or a number.
        pixels: of one video, all frames together; large videos fill a device by themselves.

    Raises:
        UsageError: it is neither.
    """
    if text is None:
        return None
    if text == "auto":
        return max(1, min(MOST_BY_ITSELF, MOST_PIXELS // pixels))
    if not re.fullmatch(r"\d{1,3}", text) or not 1 <= int(text) <= MOST_TOGETHER:
        raise UsageError(f"--batch is {text!r}", hint=f"auto, or 1 to {MOST_TOGETHER}")
    return int(text)


def read_seeds(text: str, number: int | None) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """``7``, ``0..3`` (both ends count) or ``random``, and how many from there; with what to say of it.

    Raises:
        UsageError: it is none of these, or too many.
    """
    match = re.fullmatch(r"(\d{1,19})(?:\.\.(\d{1,19}))?", text)
    if text != "random" and not match:
        raise UsageError(f"--seed {text!r} is no seed", hint="a number, A..B, or random")
    if match and match[2]:
        if number is not None:
            raise UsageError("--seed A..B and --count both say how many", hint="leave one out")
        first, last = int(match[1]), int(match[2])
    else:
        first = int(match[1]) if match else random.randrange(2**31)
        last = first + (1 if number is None else number) - 1
    if not 0 < last - first + 1 <= MOST_VIDEOS or last > GREATEST_SEED:
        raise UsageError(f"seeds {first} to {last} are not 1 to {MOST_VIDEOS} seeds below 2^32")
    return tuple(range(first, last + 1)), () if match else (f"the seed drawn is {first}",)
