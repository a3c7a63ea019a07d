"""`dv demo`: the whole way once, from the sample photos and clip to a sheet that shows what was learned."""

import dataclasses
import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dreamvideo_cli.errors import ShellError
from dreamvideo_cli.generation.options import VideoOptions
from dreamvideo_cli.generation.outputs import make_folder
from dreamvideo_cli.generation.plan import plan_videos
from dreamvideo_cli.generation.prompt import Word, compose_prompt
from dreamvideo_cli.generation.recipe_file import read_recipe
from dreamvideo_cli.generation.sampler import Sampler
from dreamvideo_cli.learning.fitness import judge_plan
from dreamvideo_cli.learning.options import (
    ClipOptions,
    LearnOptions,
    MaskOptions,
    MotionOptions,
    ScoreOptions,
    SubjectOptions,
)
from dreamvideo_cli.learning.plan import LearnPlan, check_space
from dreamvideo_cli.learning.prepare import plan_motion, plan_subject
from dreamvideo_cli.learning.publish import find_equal
from dreamvideo_cli.learning.train import RunOptions, train
from dreamvideo_cli.settings.keys import DEFAULT_BASE, check_device
from dreamvideo_cli.settings.places import locate_whole, open_registry, state_folder
from dreamvideo_cli.terminal.options import Anyway, Device, Shell, option
from dreamvideo_cli.terminal.output import View, info, show
from dreamvideo_cli.terminal.progress import show_progress
from dreamvideo_cli.views.adapters import label
from dreamvideo_cli.views.estimates import estimate_learning
from dreamvideo_cli.views.learning import stopping_in_time
from engine.bases import require_image_tower
from engine.drafts import drafted
from engine.errors import BaseInvalidError, EngineError, OutputExistsError
from engine.media.files import shown
from engine.media.output.comments import read_comment
from engine.media.output.staging import output_error
from registry.errors import RegistryError

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from engine.bases import BaseLocation
    from registry import Adapter, Registry

SUBJECT, CLASS = "fox", "cat"
MOTION, CAPTION = "zigzag", "moving in a zigzag"
ACTOR = "a blue spotted ball on a sand background"
PLACE = "on a sky background"
# The same seed for all: what differs is what the adapters do.
VIDEOS: Mapping[str, tuple[str, list[str], list[str]]] = {
    "base": (f"a red {CLASS} {CAPTION} {PLACE}", [], []),
    "subject": (f"a {SUBJECT} {CAPTION} {PLACE}", [SUBJECT], []),
    "motion": (f"a red {CLASS} {MOTION} {PLACE}", [], [MOTION]),
    "both": (f"a {SUBJECT} {MOTION} {PLACE}", [SUBJECT], [MOTION]),
}
SHEET, SHEET_COMMENT = "sheet.png", "made by dv demo"
PHOTOS, CLIP = "photos", "clip.mp4"
VIEWED_PX = 256  # small videos are enlarged to about this side


@dataclasses.dataclass(frozen=True, slots=True)
class DemoOptions:
    """Where the demo puts what it makes, and how it makes it."""

    output: Path = option(
        "Folder for everything it makes.", "--output", "-o", default=Path("dv-demo"), metavar="DIR"
    )
    base: str | None = option("By default mini.", metavar="BASE")
    device: Device = "auto"
    seed: int = option("Seed of the videos.", default=0, metavar="N", min=0)
    anyway: Anyway = False


def demo(*, options: DemoOptions, shell: Shell) -> None:
    """Learn a sample subject and a sample motion, compose them, and show the result.

    The folder gets the photos, the clip, the videos, a sheet of them all, and a registry of its own. It ends with the
    three commands that do the same by hand.

    Example: dv demo -o ./dv-demo
    """
    check_device(options.device)
    location = _locate(options.base or DEFAULT_BASE)
    folder = make_folder(options.output)
    # A registry of its own: nobody's list gets a fox that they did not ask for.
    own = dataclasses.replace(shell, registry=folder / "registry")
    store = open_registry(own.registry)
    _refuse_foreign(folder, store)
    check_space([folder, state_folder()], location)
    for name, sample in _samples().items():
        _copy(sample, folder / name)
    plans = _plan_both(own, location, options, folder)
    learned = [_learn_once(own, store, plan, anyway=options.anyway) for plan in plans]
    scale = _scale_of(location)
    videos = _make_all(own, store, folder, options, scale)
    sheet = _write_sheet(folder, _rows(location, folder, videos))
    commands = commands_for(options.output, options.base, scale)
    info(shell, f"look at {sheet}: each row is one video, the last one has both")
    info(shell, "the same by hand, with a registry of yours:")
    for command in commands:
        info(shell, f"  {command}")
    found = {
        "base": location.id,
        "sheet": str(sheet),
        "adapters": [str(adapter) for adapter in learned],
        "registry": str(store.layout.root),
        "commands": commands,
    }
    show(shell, View({**_document(folder), **found}, [str(sheet)]))


def _document(folder: Path) -> dict[str, Any]:
    """What every demo has in its folder, as JSON."""
    return {
        "schema": "dv.demo/1",
        "photos": [str(folder / name) for name in _samples() if name != CLIP],
        "class_word": CLASS,
        "clip": str(folder / CLIP),
        "caption": CAPTION,
        "actor": ACTOR,
        "videos": {name: str(folder / f"{name}.mp4") for name in VIDEOS},
    }


def commands_for(folder: Path, base: str | None, scale: int) -> list[str]:
    """The three commands that learn and compose by hand what the demo left in ``folder``, to be run as they are."""
    on_base = ["--base", base] if base else []
    enlarged = ["--scale", str(scale)] if scale > 1 else []
    what = ["--caption", CAPTION, "--actor", ACTOR]
    sentence = f"a {SUBJECT} {MOTION} on a snow background"
    lines = [
        ["subject", "learn", str(folder / PHOTOS), "--name", SUBJECT, "--class", CLASS, *on_base],
        ["motion", "learn", str(folder / CLIP), "--name", MOTION, *what, *on_base],
        ["gen", sentence, "--subject", SUBJECT, "--motion", MOTION, *enlarged],
    ]
    return [f"{program()} {shlex.join(line)}" for line in lines]


def program() -> str:
    """How this program is called from where the user stands: dv, its path, or by way of Python."""
    if shutil.which("dv"):
        return "dv"
    called = Path(sys.argv[0])
    if called.name == "dv" and called.is_file():
        return shlex.quote(str(called))
    return shlex.join([sys.executable, "-m", "dreamvideo_cli"])


def _scale_of(location: "BaseLocation") -> int:
    """How many times videos of this base are enlarged so that they can be looked at."""
    video = location.card.video
    return min(16, max(1, VIEWED_PX // max(video.width_px, video.height_px)))


def _locate(name: str) -> "BaseLocation":
    """The base, which must be able to learn a motion too."""
    location = locate_whole(name)
    try:
        require_image_tower(location)
    except BaseInvalidError as error:
        raise BaseInvalidError(error.message, hint="a base that has one: --base mini") from error
    return location


def _refuse_foreign(folder: Path, store: "Registry") -> None:
    """Only what an earlier demo made may be replaced."""
    is_own = {SHEET: _is_own_sheet(folder / SHEET)}
    is_own |= {f"{name}.mp4": _is_own_video(store, folder, name) for name in VIDEOS}
    is_own |= dict.fromkeys(_files_in(folder, PHOTOS), False)  # a photo of the user's
    is_own |= {name: _is_copy(sample, folder / name) for name, sample in _samples().items()}
    foreign = [name for name, own in is_own.items() if os.path.lexists(folder / name) and not own]
    if foreign:
        raise OutputExistsError(
            f"{shown(folder)} holds what dv demo did not make: {', '.join(foreign)}",
            hint="name another folder with -o, or move them",
        )


def _samples() -> "dict[str, Traversable]":
    """The sample media by their places in the demo's folder."""
    from importlib import resources

    samples = resources.files("dreamvideo_cli") / "samples"
    photos = sorted((samples / "subject").iterdir(), key=lambda each: each.name)
    return {f"{PHOTOS}/{each.name}": each for each in photos} | {CLIP: samples / "motion.mp4"}


def _files_in(folder: Path, name: str) -> list[str]:
    """What lies in a folder of the demo's; the folder itself where it is a file."""
    place = folder / name
    if not place.is_dir():
        return [name] if os.path.lexists(place) else []
    return [f"{name}/{each.name}" for each in place.iterdir()]


def _is_copy(sample: "Traversable", path: Path) -> bool:
    return path.is_file() and path.read_bytes() == sample.read_bytes()


def _copy(sample: "Traversable", path: Path) -> None:
    """Put a sample where the user can look at it and learn from it."""
    if _is_copy(sample, path):
        return
    make_folder(path.parent)
    try:
        with drafted(path, is_lasting=False) as draft:
            draft.write_bytes(sample.read_bytes())
    except OSError as error:
        raise output_error(path, error) from error


def _is_own_sheet(path: Path) -> bool:
    try:
        return path.is_file() and read_comment(path) == SHEET_COMMENT
    except EngineError:
        return False


def _is_own_video(store: "Registry", folder: Path, name: str) -> bool:
    """Whether a video carries the demo's prompt, and this folder's registry holds what it was made with."""
    path, (typed, subjects, motions) = folder / f"{name}.mp4", VIDEOS[name]
    words = [Word(each, f"<{each}>", is_subject=True) for each in subjects]
    words += [Word(each, CAPTION, is_subject=False) for each in motions]
    try:
        recipe = read_recipe(path)
        store.resolve(SUBJECT, kind="subject")  # even where none took part: a demo learns it first
        for use in recipe.adapters:
            store.resolve(use.ref, kind=use.kind)
    except (ShellError, EngineError, RegistryError):
        return False
    return path.is_file() and recipe.generate["prompt"] == compose_prompt(typed, words).sent


def _plan_both(
    shell: Shell, location: "BaseLocation", options: DemoOptions, folder: Path
) -> tuple[LearnPlan, LearnPlan]:
    """What the two commands would learn that the demo ends with."""
    common = LearnOptions(base=options.base or DEFAULT_BASE, device=options.device)
    subject = SubjectOptions([folder / PHOTOS], SUBJECT, class_word=CLASS)
    motion = MotionOptions([folder / CLIP], MOTION)
    taken = ClipOptions(caption=CAPTION, actor=ACTOR)
    shared: Any = {"options": common, "scores": ScoreOptions()}
    return (
        plan_subject(shell, location, subject, masks=MaskOptions(), **shared),
        plan_motion(shell, location, motion, taken=taken, **shared),
    )


def _learn_once(shell: Shell, store: "Registry", plan: LearnPlan, *, anyway: bool) -> "Adapter":
    """The plan's adapter: what an earlier demo has learned is taken as it is."""
    store.check_publish(plan.kind, plan.name)
    there = find_equal(store, plan)
    if there is not None:
        info(shell, f"{plan.kind} {label(there)} is learned already")
        return there
    judge_plan(shell, plan, estimate_learning(plan), anyway=anyway)
    info(shell, f"learning the {plan.kind} {plan.name!r} from {_inputs_text(plan)} …")
    with stopping_in_time(shell):
        learned = train(shell, store, plan, RunOptions(leaves_others=True))
    assert learned is not None  # it is one process
    return learned


def _inputs_text(plan: LearnPlan) -> str:
    """What exactly a plan is given, for people."""
    names = [item["name"] for item in plan.inputs.digests]
    if plan.kind == "subject":
        return f'{len(names)} photos ({", ".join(names)}), class word "{CLASS}"'
    return f'{", ".join(names)}, caption "{CAPTION}", actor "{ACTOR}"'


def _make_all(
    shell: Shell, store: "Registry", folder: Path, options: DemoOptions, scale: int
) -> list[tuple[str, Any]]:
    """Prompt and frames of every video, each written beside the others."""
    made = []
    for name, (prompt, subjects, motions) in VIDEOS.items():
        asked = VideoOptions(
            prompt,
            subject=subjects,
            motion=motions,
            seed=str(options.seed),
            base=options.base or DEFAULT_BASE,
            device=options.device,
            anyway=options.anyway,
            output=str(folder / f"{name}.mp4"),
            overwrite=True,
            scale=scale,
        )
        plan = plan_videos(store, asked)
        title = f"{name}: {plan.prompt.sent}"
        info(shell, f"making {name}.mp4: {plan.prompt.sent}")
        with show_progress(shell) as progress:
            made += [(title, video.frames) for video in Sampler(progress).make(plan)]
    return made


def _rows(
    location: "BaseLocation", folder: Path, videos: list[tuple[str, Any]]
) -> list[tuple[str, Any]]:
    """What was learned from, as the base sees it, and what was made."""
    from engine.media.clips.reader import frame_clip, read_clip
    from engine.media.photos import frame_photo, read_photos

    video = location.card.video
    size = video.height_px, video.width_px
    photos = [frame_photo(photo, *size)[0] for photo in read_photos([folder / PHOTOS]).photos]
    clip = read_clip(folder / CLIP, frames=video.frames, fps=video.fps)
    on_base = f"the photos, as {location.id} sees them"
    return [(on_base, photos), ("the clip", frame_clip(clip, *size)), *videos]


def _write_sheet(folder: Path, rows: list[tuple[str, Any]]) -> Path:
    """All rows in one picture."""
    from engine.media.output.sheets import sheet, write_sheet

    return write_sheet(sheet(rows), folder / SHEET, comment=SHEET_COMMENT, overwrite=True)
