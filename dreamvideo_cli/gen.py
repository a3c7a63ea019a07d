"""`dv gen`: a prompt, subjects and motions in; videos out."""

import dataclasses
import sys
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from dreamvideo_cli.commands import MACHINE, OUTPUT, SAMPLING
from dreamvideo_cli.errors import UsageError
from dreamvideo_cli.fitness import Anyway
from dreamvideo_cli.forecast import foresee
from dreamvideo_cli.making import Maker
from dreamvideo_cli.mentions import find_mentions, mention_note
from dreamvideo_cli.options import DryRun, Precision, Shell
from dreamvideo_cli.output import print_json, print_lines, print_result, say, say_more
from dreamvideo_cli.plan import VideoPlan, check_space, plan_videos
from dreamvideo_cli.progress import show_progress
from dreamvideo_cli.settings import open_registry
from dreamvideo_cli.share import Share, read_share
from dreamvideo_cli.silence import silent_libraries
from dreamvideo_cli.videos import plan_document, plan_lines, video_document

if TYPE_CHECKING:
    from registry import Registry

_sampling = partial(typer.Option, rich_help_panel=SAMPLING)
_output = partial(typer.Option, rich_help_panel=OUTPUT)
_machine = partial(typer.Option, rich_help_panel=MACHINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingOptions:
    """Who takes part and how it is sampled; every value left out is the base card's or the recipe's."""

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
    identity_from: Annotated[
        float | None,
        _sampling(
            "--identity-from",
            metavar="F",
            min=0,
            max=1,
            help="With a motion: fraction of the steps after which the subject's look acts.",
        ),
    ] = None
    motion_until: Annotated[
        float | None,
        _sampling(
            "--motion-until",
            metavar="F",
            min=0,
            max=1,
            help="With a subject: fraction of the steps after which the motion no longer acts.",
        ),
    ] = None
    sampler: Annotated[Literal["ddim", "dpm++"] | None, _sampling(help="How noise is removed.")] = (
        None
    )
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
    base: Annotated[
        str | None, _machine(metavar="BASE", help="By default the base of the adapters.")
    ] = None
    image_tower: Annotated[
        str | None, _machine(metavar="DIR|ID", help="CLIP image tower of a base without one.")
    ] = None
    anyway: Anyway = False


@dataclass(frozen=True, slots=True)
class VideoOptions(SamplingOptions):
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
        typer.Option("--again", metavar="VIDEO", help="Make a video again; other flags override."),
    ] = None
    jobs: Annotated[
        str | None,
        typer.Option(
            "--jobs",
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
    dry_run: DryRun = False


def gen(options: VideoOptions, shell: Shell) -> None:
    """Make videos of learned subjects doing learned motions.

    A line of --jobs is {"id": "a", "prompt": "a corgi skate", "subject": "corgi", "motion": "skate", "seed": 3}. All
    are checked before the first is made; --keep-going makes each as it comes. Under `accelerate launch -m
    dreamvideo_cli gen …` the processes share the videos; any failure is exit 1 there.

    Example: dv gen "a corgi skate" --subject corgi --motion skate -o out.mp4
    """
    share, store = read_share(), open_registry(shell.registry)
    _refuse_contradictions(options, shell)
    if options.jobs is not None:
        from dreamvideo_cli.jobs import run_jobs

        run_jobs(store, options, shell, share)
        return
    plan = plan_videos(store, _as_seen_by(share, options))
    check_space([plan])
    for note in plan.notes:
        say(shell, note)
    say_more(shell, f"base {plan.base.id} at {plan.base.folder}, {plan.base.fingerprint}")
    if options.again is None and share.rank == 0:
        _tell_mentions(store, plan, shell)
    if not options.dry_run:
        _make(plan, shell, share)
    elif share.rank == 0:
        forecast = foresee([plan])
        print_result(shell, plan_document(plan, forecast), plan_lines(plan, forecast))


def _tell_mentions(store: "Registry", plan: VideoPlan, shell: Shell) -> None:
    """Say which adapters the prompt names without their flag, before the wait for a video without them."""
    mentions = find_mentions(store, plan.typed, plan.uses)
    if mentions:
        say(shell, mention_note(mentions, sys.argv[1:]))


def _as_seen_by(share: Share, options: VideoOptions) -> VideoOptions:
    """One named file is made by the first process, which may have begun: it is no conflict for the others."""
    return options if share.rank == 0 else dataclasses.replace(options, overwrite=True)


def _make(plan: VideoPlan, shell: Shell, share: Share) -> None:
    """This process's share of the plan's videos."""
    numbers = [number for number in range(len(plan.recipes)) if share.has(number)]
    if not numbers:
        return
    with show_progress(shell) as progress, silent_libraries():
        maker = Maker(progress, announce=lambda text: say(shell, text), rank=share.local_rank)
        for video in maker.make(plan, numbers):
            if shell.json:
                print_json(video_document(plan, video.recipe, video.path))
            elif not plan.outputs.to_stdout:
                print_lines([str(video.path)])


def _refuse_contradictions(options: VideoOptions, shell: Shell) -> None:
    """Flags that cannot both be meant."""
    if options.output == "-" and shell.json and not options.dry_run:
        raise UsageError("--json and -o - both want stdout", hint="leave one out")
    if options.keep_going and options.jobs is None:
        raise UsageError("--keep-going is for --jobs", hint="leave it out, or give --jobs FILE")
