"""The options of `dv gen` and `dv grid`."""

import random
import re
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal

import typer

from dreamvideo_cli.errors import UsageError
from dreamvideo_cli.generation.source_options import SourceOptions
from dreamvideo_cli.terminal.options import (
    MACHINE,
    OUTPUT,
    SAMPLING,
    Anyway,
    DryRun,
    MotionModule,
    Precision,
)

GREATEST_SEED = 2**32 - 1
MOST_VIDEOS = 10_000
# `--batch auto`: more gain little, and 4 videos of 16 frames of 256x256 px fill a large GPU.
MOST_BY_ITSELF, MOST_PIXELS = 4, 4 << 20

_sampling = partial(typer.Option, rich_help_panel=SAMPLING)
_output = partial(typer.Option, rich_help_panel=OUTPUT)
_machine = partial(typer.Option, rich_help_panel=MACHINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingOptions:
    """Who takes part and how it is sampled; every value left out is the base card's or the recipe's."""

    subject: Annotated[
        list[str] | None,
        typer.Option(metavar="REF[=WEIGHT]", help="A learned subject; repeat to compose."),
    ] = None
    motion: Annotated[
        list[str] | None,
        typer.Option(metavar="REF[=WEIGHT]", help="A learned motion; repeat to compose."),
    ] = None
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FILE|DIR|-", help="Where the video goes."),
    ] = None
    negative: Annotated[str | None, _sampling(metavar="TEXT", help="What is not to be seen.")] = (
        None
    )
    frames: Annotated[int | None, _sampling(metavar="N", help="Number of frames.")] = None
    fps: Annotated[float | None, _sampling(metavar="N", help="Frames a second.")] = None
    size: Annotated[str | None, _sampling(metavar="WxH", help="Pixels, such as 256x256.")] = None
    steps: Annotated[int | None, _sampling(metavar="N", help="Denoising steps.")] = None
    guidance: Annotated[
        float | None, _sampling(metavar="F", help="How closely the prompt is followed.")
    ] = None
    guidance_low: Annotated[
        float | None,
        _sampling(
            metavar="F",
            help="On a base of two experts: guidance of the one for little noise.",
        ),
    ] = None
    guidance_from: Annotated[
        float | None,
        _sampling(
            metavar="F",
            min=0,
            max=1,
            help="Fraction of the steps after which there is guidance.",
        ),
    ] = None
    guidance_until: Annotated[
        float | None,
        _sampling(
            metavar="F",
            min=0,
            max=1,
            help="Fraction of the steps after which there is none: half the work for the rest.",
        ),
    ] = None
    identity_from: Annotated[
        float | None,
        _sampling(
            metavar="F",
            min=0,
            max=1,
            help="With a motion: fraction of the steps after which the subject's look acts.",
        ),
    ] = None
    identity_early: Annotated[
        float | None,
        _sampling(
            metavar="F",
            min=0,
            max=1,
            help="With a motion: share of the subject's weight before --identity-from.",
        ),
    ] = None
    motion_until: Annotated[
        float | None,
        _sampling(
            metavar="F",
            min=0,
            max=1,
            help="With a subject: fraction of the steps after which the motion no longer acts.",
        ),
    ] = None
    sampler: Annotated[
        Literal["ddim", "dpm++", "unipc", "euler"] | None, _sampling(help="How noise is removed.")
    ] = None
    shift: Annotated[
        float | None,
        _sampling(metavar="F", help="On a base of flow matching: more steps at much noise."),
    ] = None
    accelerator: Annotated[
        str | None,
        _sampling(
            metavar="NAME|PATH",
            help="A change of the base that needs fewer steps; on mini: mini-4.",
        ),
    ] = None
    appearance: Annotated[
        str | None,
        _sampling(
            metavar="F|PHOTO[=F]",
            help="How strongly, 0 to 10, the motion is told of the subject's look, or of a photo's.",
        ),
    ] = None
    format: Annotated[
        Literal["mp4", "gif", "webp", "png"] | None,
        _output(help="By default the suffix of -o, or mp4."),
    ] = None
    overwrite: Annotated[bool, _output("--overwrite", help="Replace the file that -o names.")] = (
        False
    )
    precision: Annotated[
        Precision | None, _machine(help="Numbers to compute with; by default auto.")
    ] = None
    device: Annotated[
        str,
        _machine(metavar="auto|cpu|cuda[:N]|mps", envvar="DV_DEVICE", help="Where to compute."),
    ] = "auto"
    memory: Annotated[
        Literal["low", "auto", "high"] | None,
        _machine(help="low works in slices, high never does, auto where memory runs out."),
    ] = None
    batch: Annotated[
        str | None,
        _machine(
            metavar="auto|N",
            help="Videos that share each call of the network; quicker, and last bits may differ.",
        ),
    ] = None
    base: Annotated[
        str | None, _machine(metavar="BASE", help="By default the base of the adapters.")
    ] = None
    image_tower: Annotated[
        str | None, _machine(metavar="DIR|ID", help="CLIP image tower of a base without one.")
    ] = None
    motion_module: MotionModule = None
    anyway: Anyway = False


@dataclass(frozen=True, slots=True)
class VideoOptions(SamplingOptions, SourceOptions):
    """What `dv gen` makes."""

    prompt: Annotated[
        str | None,
        typer.Argument(metavar="PROMPT", help="What is to be seen; names stand for adapters."),
    ] = None
    seed: Annotated[
        str | None,
        typer.Option(metavar="N|A..B|random", help="One video a seed; by default 0."),
    ] = None
    count: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Videos, counting up from the seed.")
    ] = None
    again: Annotated[
        str | None,
        typer.Option(metavar="VIDEO", help="Make a video again; other flags override."),
    ] = None
    jobs: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|-",
            help="Videos by a JSON object a line, named as flags are; flags hold for all.",
        ),
    ] = None
    keep_going: Annotated[
        bool,
        typer.Option("--keep-going", help="Take jobs as they come; exit 9 where some failed."),
    ] = False
    sidecar: Annotated[
        bool, _output("--sidecar", help="Write the recipe beside each video too: out.mp4.json.")
    ] = False
    scale: Annotated[
        int | None,
        _output(
            metavar="N",
            min=1,
            max=16,
            help="Enlarge for viewing: each pixel becomes N by N pixels.",
        ),
    ] = None
    dry_run: DryRun = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GridOptions(SamplingOptions):
    """What `dv grid` compares; the rest is as for `dv gen`."""

    prompt: Annotated[
        str, typer.Argument(metavar="PROMPT", help="What is to be seen; names stand for adapters.")
    ]
    subject: Annotated[
        list[str] | None,
        typer.Option(
            metavar="REF[,REF…]",
            help="Learned subjects; a comma composes, repeating makes a column.",
        ),
    ] = None
    motion: Annotated[
        list[str] | None,
        typer.Option(
            metavar="REF[,REF…]",
            help="Learned motions; a comma composes, repeating makes a column.",
        ),
    ] = None
    weights: Annotated[
        str | None,
        typer.Option(metavar="F,F…", help="A column each, of every adapter without =WEIGHT."),
    ] = None
    seeds: Annotated[
        str, typer.Option("--seeds", "--seed", metavar="N|A..B", help="One row a seed.")
    ] = "0"
    dry_run: DryRun = False


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
    from engine.recipe import MOST_TOGETHER

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
