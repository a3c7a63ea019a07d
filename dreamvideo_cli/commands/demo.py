"""`dv demo`: the whole way once, from the sample photos and clip to a sheet that shows what was learned."""

import dataclasses
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dreamvideo_cli.commands.learn import learn
from dreamvideo_cli.generation.options import VideoOptions
from dreamvideo_cli.generation.outputs import make_folder
from dreamvideo_cli.generation.plan import plan_videos
from dreamvideo_cli.generation.prompt import Word, compose_prompt
from dreamvideo_cli.generation.sampler import make_videos
from dreamvideo_cli.learning.fitness import judge_lesson
from dreamvideo_cli.learning.options import LearnOptions, motion_settings, subject_settings
from dreamvideo_cli.learning.plan import Lesson, check_space
from dreamvideo_cli.learning.publish import find_equal
from dreamvideo_cli.learning.train import Terms
from dreamvideo_cli.settings.keys import DEFAULT_BASE, check_device
from dreamvideo_cli.settings.places import locate_whole, open_registry, state_folder
from dreamvideo_cli.terminal.options import Anyway, Shell
from dreamvideo_cli.terminal.output import print_result, say
from dreamvideo_cli.terminal.progress import show_progress, silent_libraries
from dreamvideo_cli.views.estimates import foresee_lesson

if TYPE_CHECKING:
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


def demo(
    *,
    shell: Shell,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for everything it makes.")
    ] = Path("dv-demo"),
    base: Annotated[str | None, typer.Option(metavar="BASE", help="By default mini.")] = None,
    device: Annotated[
        str,
        typer.Option(metavar="auto|cpu|cuda[:N]|mps", envvar="DV_DEVICE", help="Where to compute."),
    ] = "auto",
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Seed of the videos.")] = 0,
    anyway: Anyway = False,
) -> None:
    """Learn a sample subject and a sample motion, compose them, and show the result.

    Example: dv demo -o ./dv-demo
    """
    check_device(device)
    chosen = base or DEFAULT_BASE
    location = _locate(chosen)
    folder = make_folder(output)
    # A registry of its own: nobody's list gets a fox that they did not ask for.
    own = dataclasses.replace(shell, registry=folder / "registry")
    store = open_registry(own.registry)
    _refuse_foreign(folder, store)
    check_space([folder, state_folder()], location)
    options = LearnOptions(device=device)
    with _samples() as samples:
        learned = [
            _learn_once(own, store, lesson, anyway=anyway)
            for lesson in (
                _subject_lesson(location, options, samples),
                _motion_lesson(location, options, samples),
            )
        ]
        videos = _make_all(
            own,
            store,
            folder,
            VideoOptions("", device=device, base=chosen, seed=str(seed), anyway=anyway),
        )
        sheet = _write_sheet(folder, _rows(location, samples, videos))
    say(shell, f"look at {sheet}: each row is one video, the last one has both")
    say(
        shell,
        f'use them: dv gen "a {SUBJECT} {MOTION} on a snow background" --registry {store.layout.root} '
        f"--subject {SUBJECT} --motion {MOTION}",
    )
    document = {
        "schema": "dv.demo/1",
        "sheet": str(sheet),
        "adapters": [str(adapter) for adapter in learned],
        "videos": {name: str(folder / f"{name}.mp4") for name in VIDEOS},
        "registry": str(store.layout.root),
    }
    print_result(shell, document, [str(sheet)])


def _locate(name: str) -> "BaseLocation":
    """The base, which must be able to learn a motion too.

    Raises:
        BaseNotFoundError, BaseInvalidError: see `bases.locate`.
        BaseInvalidError: it has no image tower.
    """
    from engine.bases import require_image_tower
    from engine.errors import BaseInvalidError

    location = locate_whole(name)
    try:
        require_image_tower(location)
    except BaseInvalidError as error:
        raise BaseInvalidError(error.message, hint="a base that has one: --base mini") from error
    return location


def _refuse_foreign(folder: Path, store: "Registry") -> None:
    """Only what an earlier demo made may be replaced.

    Raises:
        OutputExistsError: other files have the names of what is to be made.
    """
    from engine.errors import OutputExistsError
    from engine.media.files import shown

    is_own = {SHEET: _is_own_sheet(folder / SHEET)}
    is_own |= {f"{name}.mp4": _is_own_video(store, folder, name) for name in VIDEOS}
    foreign = [name for name, own in is_own.items() if os.path.lexists(folder / name) and not own]
    if foreign:
        raise OutputExistsError(
            f"{shown(folder)} holds what dv demo did not make: {', '.join(foreign)}",
            hint="name another folder with -o, or move them",
        )


def _is_own_sheet(path: Path) -> bool:
    from engine.errors import EngineError
    from engine.media.comments import read_comment

    try:
        return path.is_file() and read_comment(path) == SHEET_COMMENT
    except EngineError:
        return False


def _is_own_video(store: "Registry", folder: Path, name: str) -> bool:
    """Whether a video carries the demo's prompt, and this folder's registry holds what it was made with."""
    from dreamvideo_cli.errors import ShellError
    from dreamvideo_cli.generation.recipe_file import read_recipe
    from engine.errors import EngineError
    from registry.errors import RegistryError

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


def _subject_lesson(location: "BaseLocation", options: LearnOptions, samples: Path) -> Lesson:
    from engine.media.photos import read_photos

    recipe = subject_settings(location.card.subject, options, CLASS)
    photos = read_photos([samples / "subject"])
    return Lesson("subject", SUBJECT, location, recipe, photos=photos, device=options.device)


def _motion_lesson(location: "BaseLocation", options: LearnOptions, samples: Path) -> Lesson:
    from engine.media.clips.reader import read_clip

    video = location.card.video
    own = {"actor": ACTOR, "caption": CAPTION, "frames": video.frames, "fps": video.fps}
    recipe = motion_settings(location.card.motion, options, own, clips=1)
    clip = read_clip(samples / "motion.mp4", frames=recipe.frames, fps=recipe.fps)
    return Lesson("motion", MOTION, location, recipe, clips=(clip,), device=options.device)


def _learn_once(shell: Shell, store: "Registry", lesson: Lesson, *, anyway: bool) -> "Adapter":
    """The lesson's adapter: what an earlier demo has learned is taken as it is."""
    store.check_publish(lesson.kind, lesson.name)
    there = find_equal(store, lesson)
    if there is not None:
        say(shell, f"{lesson.kind} {there.name}:v{there.version} is learned already")
        return there
    judge_lesson(shell, lesson, foresee_lesson(lesson), anyway=anyway)
    say(shell, f"learning the {lesson.kind} {lesson.name!r} from {lesson.inputs[0]['name']} …")
    learned = learn(shell, store, lesson, Terms(leaves_others=True))
    assert learned is not None  # it is one process
    return learned


def _make_all(
    shell: Shell, store: "Registry", folder: Path, options: VideoOptions
) -> list[tuple[str, Any]]:
    """Prompt and frames of every video, each written beside the others."""
    made = []
    for name, (prompt, subjects, motions) in VIDEOS.items():
        plan = plan_videos(
            store,
            dataclasses.replace(
                options,
                prompt=prompt,
                subject=subjects,
                motion=motions,
                output=str(folder / f"{name}.mp4"),
                overwrite=True,
            ),
        )
        say(shell, f"making {name}.mp4: {plan.prompt.sent}")
        with show_progress(shell) as progress, silent_libraries():
            made += [
                (f"{name}: {plan.prompt.sent}", video.frames)
                for video in make_videos(plan, progress)
            ]
    return made


def _rows(
    location: "BaseLocation", samples: Path, videos: list[tuple[str, Any]]
) -> list[tuple[str, Any]]:
    """What was learned from, as the base sees it, and what was made."""
    from engine.media.clips.reader import frame_clip, read_clip
    from engine.media.photos import frame_photo, read_photos

    video = location.card.video
    size = video.height_px, video.width_px
    photos = [frame_photo(photo, *size)[0] for photo in read_photos([samples / "subject"]).photos]
    clip = read_clip(samples / "motion.mp4", frames=video.frames, fps=video.fps)
    return [("the photos", photos), ("the clip", frame_clip(clip, *size)), *videos]


def _write_sheet(folder: Path, rows: list[tuple[str, Any]]) -> Path:
    """All rows in one picture."""
    from engine.drafts import draft_in
    from engine.media.sheets import sheet
    from engine.media.write import write_video

    picture = sheet(rows)[None]
    with draft_in(folder) as draft:
        frames = write_video(picture, draft, fps=1, format="png", comment=SHEET_COMMENT)
        (frames / "0000.png").replace(folder / SHEET)
    return folder / SHEET


@contextmanager
def _samples() -> Iterator[Path]:
    """The sample media as files, wherever the package is installed."""
    from importlib import resources

    with resources.as_file(resources.files("dreamvideo_cli") / "samples") as folder:
        yield folder
