"""`dv gen`: a prompt, subjects and motions in; videos out."""

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Literal

import typer

from dreamvideo_cli.errors import UsageError
from dreamvideo_cli.forecast import foresee
from dreamvideo_cli.making import Maker
from dreamvideo_cli.options import Precision, Shell
from dreamvideo_cli.output import print_json, print_lines, print_result, say, say_more
from dreamvideo_cli.plan import VideoPlan, plan_videos
from dreamvideo_cli.progress import show_progress
from dreamvideo_cli.settings import open_registry
from dreamvideo_cli.share import Share, read_share
from dreamvideo_cli.silence import silent_libraries
from dreamvideo_cli.videos import plan_document, plan_lines, video_document


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
    negative: Annotated[str | None, typer.Option(help="What is not to be seen.")] = None
    frames: Annotated[int | None, typer.Option(metavar="N", help="Number of frames.")] = None
    fps: Annotated[float | None, typer.Option(metavar="N", help="Frames a second.")] = None
    size: Annotated[str | None, typer.Option(metavar="WxH", help="Pixels, such as 256x256.")] = None
    steps: Annotated[int | None, typer.Option(metavar="N", help="Denoising steps.")] = None
    guidance: Annotated[
        float | None, typer.Option(metavar="F", help="How closely the prompt is followed.")
    ] = None
    identity_from: Annotated[
        float | None,
        typer.Option(
            "--identity-from",
            metavar="F",
            min=0,
            max=1,
            help="Fraction of the steps after which the subject's look acts.",
        ),
    ] = None
    sampler: Annotated[
        Literal["ddim", "dpm++"] | None, typer.Option(help="How noise is removed.")
    ] = None
    appearance: Annotated[
        float | None,
        typer.Option(
            metavar="F", min=0, max=10, help="Strength of the subject's look in the motion."
        ),
    ] = None
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FILE|DIR|-", help="Where the video goes."),
    ] = None
    format: Annotated[
        Literal["mp4", "gif", "webp", "png"] | None,
        typer.Option(help="By default the suffix of -o, or mp4."),
    ] = None
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the file that -o names.")
    ] = False
    precision: Annotated[
        Precision | None, typer.Option(help="Numbers to compute with; by default auto.")
    ] = None
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
            help="A JSON object a line, with id and flags' names; flags hold for all.",
        ),
    ] = None
    keep_going: Annotated[
        bool,
        typer.Option("--keep-going", help="Take jobs as they come; exit 9 where some failed."),
    ] = False


def gen(options: VideoOptions, shell: Shell) -> None:
    """Make videos of learned subjects doing learned motions.

    Of --jobs all lines are checked before the first is made; --keep-going makes each as it comes. Under
    `accelerate launch -m dreamvideo_cli gen …` the processes share the videos; any failure is exit 1 there.

    Example: dv gen "a corgi skate" --subject corgi --motion skate -o out.mp4
    """
    share, store = read_share(), open_registry(shell)
    _refuse_contradictions(options, shell)
    if options.jobs is not None:
        from dreamvideo_cli.jobs import run_jobs

        run_jobs(store, options, shell, share)
        return
    plan = plan_videos(store, _as_seen_by(share, options))
    for note in plan.notes:
        say(shell, note)
    say_more(shell, f"base {plan.base.id} at {plan.base.folder}, {plan.base.fingerprint}")
    if not options.dry_run:
        _make(plan, shell, share)
    elif share.rank == 0:
        forecast = foresee([plan])
        print_result(shell, plan_document(plan, forecast), plan_lines(plan, forecast))


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
                form = plan.outputs.format
                print_json(video_document(plan, video.recipe, video.path, form))
            elif not plan.outputs.to_stdout:
                print_lines([str(video.path)])


def _refuse_contradictions(options: VideoOptions, shell: Shell) -> None:
    """Flags that cannot both be meant."""
    if options.output == "-" and shell.json and not options.dry_run:
        raise UsageError("--json and -o - both want stdout", hint="leave one out")
    if options.keep_going and options.jobs is None:
        raise UsageError("--keep-going is for --jobs", hint="leave it out, or give --jobs FILE")
