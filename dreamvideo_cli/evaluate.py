"""`dv eval`: videos in, scores out, each with its definition, its floor and its ceiling."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dreamvideo_cli.errors import UsageError
from dreamvideo_cli.options import Shell
from dreamvideo_cli.output import facts, one_line, print_result, say, table
from dreamvideo_cli.silence import silent_libraries

if TYPE_CHECKING:
    from engine.evaluate.scores import References, Score
    from engine.evaluate.videos import Video

NO_SCORER = "none"
USUAL_SCORERS = ("clip", "dino")


@dataclass(frozen=True, slots=True)
class EvalOptions:
    """What is scored, and against what."""

    video: Annotated[
        list[Path] | None,
        typer.Argument(metavar="VIDEO...", help="Videos, or folders of frames."),
    ] = None
    photos: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The subject's photos: scores how alike it looks."),
    ] = None
    prompt: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help='What was asked for, in plain words: "a dog skating".'),
    ] = None
    clip: Annotated[
        Path | None,
        typer.Option(metavar="CLIP", help="The motion's clip: scores how alike it moves."),
    ] = None
    scorer: Annotated[
        list[str] | None,
        typer.Option(
            "--scorer",
            metavar="clip|dino|mini|none|DIR|ID",
            help="Who scores; repeatable. By default clip and dino, for mini's videos mini.",
        ),
    ] = None
    explain: Annotated[bool, typer.Option("--explain", help="Print what each score means.")] = False


def evaluate(options: EvalOptions, shell: Shell) -> None:
    """Score videos: how close to the prompt, the photos and the clip they are.

    Example: dv eval out.mp4 --photos ./dog_pics --clip ./clip.mp4 --prompt "a dog skating"
    """
    if options.explain:
        _explain(shell)
        return
    paths = [path.expanduser() for path in options.video or []]
    if not paths:
        raise UsageError("no video is named", hint='dv eval out.mp4 --prompt "a dog skating"')
    _require_all([*paths, options.photos, options.clip])
    names = options.scorer or _usual_scorers(paths)
    _refuse_without_towers(names)
    say(shell, f"scoring {len(paths)} with {', '.join(names)} …")
    with silent_libraries():
        found = [(path, _score(path, options, names)) for path in paths]
    print_result(shell, _document(found), _lines(found))


def _explain(shell: Shell) -> None:
    from engine.evaluate.definitions import DEFINITIONS

    document = {"schema": "dv.eval_definitions/1", "definitions": dict(DEFINITIONS)}
    print_result(shell, document, facts(DEFINITIONS.items()))


def _require_all(paths: Sequence[Path | None]) -> None:
    """Fail before anything heavy is imported.

    Raises:
        InputNotFoundError, InputError: naming the path.
    """
    from engine.media.files import require_path

    for path in paths:
        if path is not None:
            require_path(path.expanduser())


def _usual_scorers(paths: Sequence[Path]) -> list[str]:
    """`mini` where every video says that mini made it; CLIP and DINO otherwise."""
    return ["mini"] if all(_base_of(path) == "mini" for path in paths) else [*USUAL_SCORERS]


def _base_of(path: Path) -> str | None:
    """The name of the base that a video of ours was made by, as the video tells."""
    from engine.errors import InputError
    from engine.media.comments import read_comment

    try:
        recipe = json.loads(read_comment(path) or "null")
        return str(recipe["base"]["id"]).partition("@")[0]
    except (InputError, ValueError, TypeError, KeyError):
        return None


def _refuse_without_towers(names: Sequence[str]) -> None:
    """Look for every tower before the first is loaded.

    Raises:
        UsageError: `none` beside others.
        ScorerMissingError: a tower is not on this machine.
    """
    from engine.evaluate.places import MINI, find_tower

    if NO_SCORER in names and len(names) > 1:
        raise UsageError("--scorer none stands alone", hint="leave out none, or the others")
    for name in names:
        if name not in {MINI, NO_SCORER}:
            find_tower(name)


def _score(path: Path, options: EvalOptions, names: Sequence[str]) -> "tuple[Score, ...]":
    from engine.evaluate.scores import score_video
    from engine.evaluate.towers import open_tower
    from engine.evaluate.videos import read_video

    towers = [open_tower(name) for name in names if name != NO_SCORER]
    video = read_video(path)
    return score_video(video.frames, _references(video, options), towers)


def _references(video: "Video", options: EvalOptions) -> "References":
    """What the video is measured against; the clip is taken at the video's own rate and length."""
    from engine.evaluate.scores import References
    from engine.media.clips import read_clip
    from engine.media.photos import read_photos

    photos = read_photos([options.photos.expanduser()]).photos if options.photos else ()
    clip = None
    if options.clip:
        frames = max(4, len(video.frames))
        clip = read_clip(options.clip.expanduser(), frames=frames, fps=video.fps).frames
    return References(tuple(photo.pixels for photo in photos), clip, options.prompt)


def _document(found: "Sequence[tuple[Path, tuple[Score, ...]]]") -> dict[str, Any]:
    from engine.evaluate.definitions import DEFINITIONS

    used = {score.metric for _, scores in found for score in scores}
    return {
        "schema": "dv.eval/1",
        "videos": [
            {"path": str(path), "scores": [asdict(score) for score in scores]}
            for path, scores in found
        ],
        "mean": _means(found),
        "definitions": {name: text for name, text in DEFINITIONS.items() if name in used},
    }


def _means(found: "Sequence[tuple[Path, tuple[Score, ...]]]") -> dict[str, float]:
    """Mean of every metric that all videos have."""
    values: dict[str, list[float]] = {}
    for _, scores in found:
        for score in scores:
            values.setdefault(score.metric, []).append(score.value)
    return {name: sum(each) / len(each) for name, each in values.items() if len(each) == len(found)}


def _lines(found: "Sequence[tuple[Path, tuple[Score, ...]]]") -> list[str]:
    """A table a video, and their means below."""
    head = ("SCORE", "BY", "VALUE", "FLOOR", "CEILING")
    lines = []
    for path, scores in found:
        rows = [
            (
                score.metric,
                score.by,
                _number(score.value),
                _number(score.floor),
                _number(score.ceiling),
            )
            for score in scores
        ]
        title = [one_line(str(path))] if len(found) > 1 else []
        lines += [*title, *table(head, rows)]
    if len(found) > 1:
        means = [(name, _number(value)) for name, value in _means(found).items()]
        lines += [f"mean of {len(found)}", *table(("SCORE", "VALUE"), means)]
    return lines


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
