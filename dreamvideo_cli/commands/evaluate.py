"""`dv eval`: videos in, scores out, each with its definition, its floor and its ceiling."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from msgspec import Meta, Struct

from dreamvideo_cli.errors import BatchError, UsageError
from dreamvideo_cli.terminal.options import Shell, option
from dreamvideo_cli.terminal.output import View, info, show
from dreamvideo_cli.terminal.progress import silent_libraries
from dreamvideo_cli.terminal.signals import end_if_stopped
from dreamvideo_cli.terminal.text import field_lines
from dreamvideo_cli.views.scores import eval_document, eval_lines
from engine.errors import InputError, ScorerMissingError
from engine.media.files import require_path
from engine.media.output.comments import read_comment
from engine.metrics.definitions import DEFINITIONS
from engine.metrics.places import MINI, USUAL, find_tower, require_open_cv

if TYPE_CHECKING:
    from dreamvideo_cli.views.scores import Scored
    from engine.metrics.scores import Score
    from engine.metrics.videos import ReferenceClip

NO_SCORER = "none"


@dataclass(frozen=True, slots=True)
class EvalOptions:
    """What is scored, and against what."""

    video: Annotated[
        list[Path] | None,
        typer.Argument(metavar="VIDEO...", help="Videos, or folders of frames."),
    ] = None
    photos: Path | None = option("The subject's photos: scores how alike it looks.", metavar="DIR")
    prompt: str | None = option(
        'What was asked for, in plain words: "a cat rising".', metavar="TEXT"
    )
    clip: Path | None = option("The motion's clip: scores how alike it moves.", metavar="CLIP")
    scorer: list[str] | None = option(
        "Who scores; repeatable. By default clip and dino, for mini's videos mini.",
        metavar="clip|dino|mini|none|DIR|ID",
    )
    explain: bool = option("Print what each score means.", default=False)


def evaluate(options: EvalOptions, shell: Shell) -> None:
    """Score videos: how close to the prompt, the photos and the clip they are.

    Example: dv eval out.mp4 --photos ./dv-demo/photos --clip ./dv-demo/clip.mp4
    """
    if options.explain:
        _explain(shell)
        return
    paths = [path.expanduser() for path in options.video or []]
    if not paths:
        raise UsageError("no video is named", hint="dv eval out.mp4 --photos ./dv-demo/photos")
    _require_all([*paths, options.photos, options.clip])
    names = options.scorer or _usual_scorers(paths)
    _refuse_without_scorers(names, options)
    info(shell, f"scoring {len(paths)} with {', '.join(names)} …")
    with silent_libraries():
        found = _score_all(paths, _examiner(options, names), shell)
    if found:
        show(shell, View(eval_document(found), eval_lines(found, titled=len(paths) > 1)))
    if failed := len(paths) - len(found):
        message = f"{failed} of {len(paths)} videos could not be scored"
        raise BatchError(message, hint="each is told above")


def _explain(shell: Shell) -> None:
    document = {"schema": "dv.eval_definitions/1", "definitions": dict(DEFINITIONS)}
    show(shell, View(document, field_lines(DEFINITIONS.items())))


def _require_all(paths: Sequence[Path | None]) -> None:
    """Fail before anything heavy is imported."""
    for path in paths:
        if path is not None:
            require_path(path.expanduser())


def _usual_scorers(paths: Sequence[Path]) -> list[str]:
    """`mini` where every video says that mini made it; CLIP and DINO otherwise."""
    recipes = [_recipe_of(path) for path in paths]
    is_mini = all(recipe and recipe.base.id.partition("@")[0] == MINI for recipe in recipes)
    return [MINI] if is_mini else [*USUAL]


class _Base(Struct, frozen=True):
    id: str


class _Settings(Struct, frozen=True):
    fps: Annotated[float, Meta(gt=0.0, le=240.0)]


class _Recipe(Struct, frozen=True):
    """As much of a video's or a grid's recipe as is asked for here."""

    base: _Base
    generate: _Settings | None = None


def _recipe_of(path: Path) -> _Recipe | None:
    """What a video of ours tells of how it was made; None of any other."""
    try:
        return msgspec.json.decode(read_comment(path) or "", type=_Recipe)
    except (InputError, msgspec.MsgspecError, UnicodeError, RecursionError):
        return None


def _folder_fps(path: Path) -> float | None:
    """The rate of a folder of frames that we wrote; None of anything else."""
    recipe = _recipe_of(path) if path.is_dir() else None
    return recipe.generate.fps if recipe and recipe.generate else None


def _refuse_without_scorers(names: Sequence[str], options: EvalOptions) -> None:
    """Look for all that scores before any of it is loaded."""
    if NO_SCORER in names and len(names) > 1:
        raise UsageError("--scorer none stands alone", hint="leave out none, or the others")
    for name in names:
        if name not in {MINI, NO_SCORER}:
            find_tower(name)
    if options.clip or (options.photos and MINI in names):
        require_open_cv()


def _examiner(options: EvalOptions, names: Sequence[str]) -> "Callable[[Path], Sequence[Score]]":
    """What scores one video after the other; photos, prompt, clip and towers are taken in once, now."""
    from engine.media.photos import read_photos
    from engine.metrics.fidelity import paced_fidelity
    from engine.metrics.scores import References, score_looks, score_motion, set_standard
    from engine.metrics.towers import open_towers
    from engine.metrics.videos import FOLDER_FPS, read_video

    photos = read_photos([options.photos.expanduser()]).photos if options.photos else ()
    clip = _reference(options.clip.expanduser()) if options.clip else None
    references = References(tuple(photo.pixels for photo in photos), prompt=options.prompt)
    standard = set_standard(references, open_towers([n for n in names if n != NO_SCORER]))

    def examine(path: Path) -> "Sequence[Score]":
        video = read_video(path, folder_fps=_folder_fps(path) or FOLDER_FPS)
        scores = score_looks(video.frames, standard)
        if clip:
            paced, reference = clip.beside(video)
            fidelity = paced_fidelity(reference, paced)
            scores += score_motion(video.frames, reference.frames, fidelity)
        return scores

    return examine


def _reference(path: Path) -> "ReferenceClip":
    from engine.metrics.videos import ReferenceClip

    return ReferenceClip(path, folder_fps=_folder_fps(path))


def _score_all(
    paths: Sequence[Path], examine: "Callable[[Path], Sequence[Score]]", shell: Shell
) -> "list[Scored]":
    """The videos that can be scored, with their scores; of several the others are told and passed over."""
    found: list[Scored] = []
    for path in paths:
        try:
            found.append((path, examine(path)))
        except ScorerMissingError:
            raise
        except Exception as error:
            end_if_stopped()
            if len(paths) == 1:
                raise
            from dreamvideo_cli.terminal.failures import report_part

            report_part(error, key="path", called="video", value=str(path), as_json=shell.json)
    return found
