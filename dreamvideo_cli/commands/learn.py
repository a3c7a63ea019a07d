"""`dv subject learn` and `dv motion learn`."""

import re
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dreamvideo_cli.errors import ExistsError, UsageError
from dreamvideo_cli.generation.prompt import EVERYDAY
from dreamvideo_cli.learning.fitness import judge_lesson
from dreamvideo_cli.learning.inputs import read_inputs, refuse_photos
from dreamvideo_cli.learning.options import (
    LearnOptions,
    MaskOptions,
    ScoreOptions,
    motion_settings,
    subject_settings,
)
from dreamvideo_cli.learning.plan import Lesson, Sources, check_space, write_path
from dreamvideo_cli.learning.publish import find_equal
from dreamvideo_cli.learning.resume import find_same
from dreamvideo_cli.learning.scoring import anywhere, choose_scorers
from dreamvideo_cli.learning.train import OutOfTimeError, Terms, carry_out, continuing, way_on
from dreamvideo_cli.settings.keys import check_device
from dreamvideo_cli.settings.places import default_base, locate_whole, open_registry, state_folder
from dreamvideo_cli.terminal.options import Kind, Shell
from dreamvideo_cli.terminal.output import View, say, show
from dreamvideo_cli.terminal.processes import read_share
from dreamvideo_cli.terminal.progress import show_progress, silent_libraries
from dreamvideo_cli.terminal.text import is_utf8, one_line, read_duration
from dreamvideo_cli.terminal.warnings import warning_documents
from dreamvideo_cli.views.adapters import adapter_document
from dreamvideo_cli.views.estimates import foresee_lesson
from dreamvideo_cli.views.learning import lesson_document, lesson_lines
from dreamvideo_cli.views.runs import run_document
from engine.hardware import require_device

if TYPE_CHECKING:
    from engine.bases import BaseLocation
    from engine.bases.fitness import FitnessWarning
    from registry import Adapter, Registry

STOPPED_IN_TIME = 75
BUNDLED = "mini@"  # small enough for the package, too small for photos
Name = Annotated[str, typer.Option("--name", metavar="NAME", help="The name to publish it under.")]


def learn_subject(
    *,
    photos: Annotated[
        list[Path], typer.Argument(metavar="PHOTO|DIR...", help="A few photos of it.")
    ],
    name: Name,
    masks: MaskOptions,
    options: LearnOptions,
    scores: ScoreOptions,
    shell: Shell,
    class_word: Annotated[
        str | None, typer.Option("--class", metavar="WORD", help="What it is, such as cat.")
    ] = None,
    holdout: Annotated[
        str | None,
        typer.Option(metavar="PHOTO", help="Keep one out to score against: its name or number."),
    ] = None,
) -> None:
    """Learn a subject from a few photos.

    Example: dv subject learn ./dv-demo/photos --name fox --class cat
    """
    from engine.bases.wording import check_class_word

    shell, terms = one_voice(shell), terms_of(options)
    store = _open_store(shell, "subject", name, options)
    base = locate_whole(options.base or default_base(), options.image_tower)
    recipe = subject_settings(base.card.subject, options, class_word)
    check_class_word(base, recipe.class_word)
    sources = replace(_sources_of(options, photos, masks), holdout=holdout)
    with show_progress(shell) as progress:
        found = read_inputs(sources, recipe, options.device, progress)
    if class_word is None:
        say(shell, f'no --class: taking "{recipe.class_word}"')
    for note in found.notes:
        say(shell, note)
    same = {**_same_of(options, sources), **_scores_of(shell, scores, "subject", base)}
    lesson = Lesson("subject", name, base, recipe, photos=found.photos, **same)
    _finish(shell, store, lesson, options, terms)


def learn_motion(
    *,
    clips: Annotated[
        list[Path], typer.Argument(metavar="CLIP...", help="Clips, or folders of frames.")
    ],
    name: Name,
    options: LearnOptions,
    scores: ScoreOptions,
    shell: Shell,
    caption: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help='What moves how, such as "moving in a zigzag".'),
    ] = None,
    actor: Annotated[
        str,
        typer.Option(
            metavar="TEXT",
            help='Who moves in the clip, and where, such as "a man on a street": what words say of'
            " the look, the motion need not hold.",
        ),
    ] = "",
    start: Annotated[
        float, typer.Option(metavar="S", min=0, help="Where to start, in seconds.")
    ] = 0.0,
    end: Annotated[
        float | None, typer.Option(metavar="S", help="Where to end, in seconds.")
    ] = None,
    frames: Annotated[int | None, typer.Option(metavar="N", help="Frames to take.")] = None,
    fps: Annotated[float | None, typer.Option(metavar="N", help="Frames a second to take.")] = None,
) -> None:
    """Learn a motion from a clip or several.

    Example: dv motion learn ./dv-demo/clip.mp4 --name zigzag --caption "moving in a zigzag"
    """
    from engine.bases import require_image_tower
    from engine.bases.wording import check_prompt

    shell, terms = one_voice(shell), terms_of(options)
    store = _open_store(shell, "motion", name, options)
    base = locate_whole(options.base or default_base(), options.image_tower)
    require_image_tower(base)
    video = base.card.video
    own = {
        "actor": actor,
        "caption": re.sub(r"[._-]", " ", name) if caption is None else caption,
        "start_s": start,
        "end_s": end,
        "frames": video.frames if frames is None else frames,
        "fps": video.fps if fps is None else fps,
    }
    recipe = motion_settings(base.card.motion, options, own, len(clips))
    check_prompt(base, recipe.told)
    sources = _sources_of(options, clips)
    found = read_inputs(sources, recipe, options.device)
    if fps is None:
        refuse_photos(found.clips)
    if caption is None:
        say(shell, f'no --caption: taking "{recipe.caption}"')
    for note in found.notes:
        say(shell, note)
    if found.left_out:
        recipe = motion_settings(base.card.motion, options, own, len(found.clips))
    same = {
        "left_out": found.left_out,
        **_same_of(options, sources),
        **_scores_of(shell, scores, "motion", base),
    }
    lesson = Lesson("motion", name, base, recipe, clips=found.clips, **same)
    _finish(shell, store, lesson, options, terms)


def learn(shell: Shell, store: "Registry", lesson: Lesson, terms: Terms) -> "Adapter | None":
    """Learn with progress on stderr; None where another process of a launcher publishes it.

    Raises:
        typer.Exit: the time was up; the run's id is on stdout.
    """
    shell = one_voice(shell)
    say(shell, f"loading {lesson.base.id} …")
    try:
        with show_progress(shell) as progress:
            return carry_out(shell, store, lesson, progress, terms)
    except OutOfTimeError as late:
        say(shell, way_on(late.run))
        show(shell, View(run_document(late.run), [late.run.id]))
        raise typer.Exit(STOPPED_IN_TIME) from None


def one_voice(shell: Shell) -> Shell:
    """The shell in the first of several processes, which speaks for all; a silent one in the others."""
    return replace(shell, quiet=True, progress="none") if read_share().rank else shell


def terms_of(options: LearnOptions) -> Terms:
    """On what terms the flags want a run.

    Raises:
        UsageError: `--max-time` is no duration.
    """
    return Terms(fresh=options.fresh, deadline=deadline_of(options.max_time))


def deadline_of(max_time: str | None) -> float | None:
    """When a duration that begins now is over, by `time.monotonic`.

    Raises:
        UsageError: it is no duration.
    """
    return None if max_time is None else time.monotonic() + read_duration(max_time)


def _open_store(shell: Shell, kind: Kind, name: str, options: LearnOptions) -> "Registry":
    """The registry, if the new version could be published there now."""
    from engine.monitor.tracker import require_tracker

    store = open_registry(shell.registry)
    check_device(options.device)
    require_device(options.device, options.precision)
    if options.track is not None:
        require_tracker(options.track)
    _refuse_bytes([str(store.layout.root)])
    if name in EVERYDAY:
        raise UsageError(f"{name!r} is a word of every prompt", hint="a name that stands out")
    store.check_publish(kind, name, options.tag or [])
    return store


def _finish(
    shell: Shell, store: "Registry", lesson: Lesson, options: LearnOptions, terms: Terms
) -> None:
    """Show the plan, or find the same already there, or learn; one pinned reference on stdout."""
    folders = [store.layout.root, state_folder()]
    check_space(folders, lesson.base, is_scored=lesson.scored_by is not None)
    is_first = not read_share().rank
    if options.dry_run and not is_first:
        return
    looks_up = options.if_exists != "new" and not options.dry_run
    equal = find_equal(store, lesson) if looks_up else None
    expected_s = foresee_lesson(lesson)
    warnings = judge_lesson(shell, lesson, expected_s, anyway=options.anyway) if not equal else ()
    going_on = None if equal or options.fresh else find_same(store, lesson)
    if options.dry_run:
        if going_on:
            say(shell, continuing(going_on))
        with silent_libraries():
            document = lesson_document(store, lesson, expected_s, warnings)
        show(shell, View(document, lesson_lines(document)))
        return
    if equal is not None and options.if_exists == "error":
        raise ExistsError(
            f"{equal.name}:v{equal.version} was learned from the same with the same recipe",
            hint="--if-exists skip takes it, --if-exists new learns again",
        )
    if equal is not None and not is_first:
        return
    if equal is not None:
        say(shell, f"{equal.name}:v{equal.version} was learned from the same: nothing to learn")
        for tag in options.tag or []:
            store.tag(str(equal), tag, kind=equal.kind)
            say(shell, f"{equal.name}:{tag} -> {equal.name}:v{equal.version}")
    adapter = equal or learn(shell, store, lesson, terms)
    if adapter is not None:
        show_learned(shell, store, adapter, is_new=equal is None, warnings=warnings)
    if adapter is not None and equal is None and options.quality == "draft" and adapter.version > 1:
        name, before = adapter.name, adapter.version - 1
        say(shell, f"hint: this draft is {name}:latest now; {name}:v{before} is the one before it")


def show_learned(
    shell: Shell,
    store: "Registry",
    adapter: "Adapter",
    *,
    is_new: bool,
    warnings: Sequence["FitnessWarning"] = (),
) -> None:
    """One pinned reference on stdout, and what to do with it."""
    document = {**adapter_document(adapter), "warnings": warning_documents(warnings)}
    show(shell, View(document, [str(adapter)]))
    if is_new:
        say(shell, f"next: {line_with(store, adapter)}")
        if adapter.kind == "subject" and adapter.record.base_id.startswith(BUNDLED):
            say(shell, "hint: mini is for trying it; larger bases look better: dv base list")


def line_with(store: "Registry", adapter: "Adapter") -> str:
    """A video of it, and of the newest of the other kind that was learned on the same base."""
    from registry.errors import RegistryError

    other: Kind = "motion" if adapter.kind == "subject" else "subject"
    rows: Sequence[Adapter] = ()
    with suppress(RegistryError):  # what was learned is published, whatever else lies there
        rows = store.list(other).rows
    fitting = [
        row for row in rows if row.record.base_fingerprint == adapter.record.base_fingerprint
    ]
    newest = sorted(fitting, key=lambda row: row.record.created)[-1:]
    used = sorted([adapter, *newest], key=lambda each: each.kind, reverse=True)
    flags = " ".join(f"--{each.kind} {each.name}" for each in used)
    return f'dv gen "{" ".join(each.name for each in used)}" {flags}'


def _same_of(options: LearnOptions, sources: Sources) -> dict[str, Any]:
    return {
        "device": options.device,
        "tags": tuple(options.tag or ()),
        "note": options.note,
        "told": sources,
        "save_every": options.save_every,
        "preview": options.preview,
        "track": options.track,
    }


def _scores_of(
    shell: Shell, options: ScoreOptions, kind: Kind, base: "BaseLocation"
) -> dict[str, Any]:
    """What a lesson says of scores; that is settled before the wait."""
    chosen = choose_scorers(shell, options, kind, base)
    return {
        "scored_by": None if chosen is None else tuple(map(anywhere, chosen)),
        "patience": options.patience,
    }


def _refuse_bytes(paths: Iterable[str]) -> None:
    """A run writes down where its models lie, to open them again, and its files are UTF-8.

    Raises:
        UsageError: one is not.
    """
    for path in paths:
        if not is_utf8(path):
            told = f"{one_line(path)} is not UTF-8, and a run could not write down where it lies"
            raise UsageError(told, hint="rename it, or copy it to where it can be named")


def _sources_of(
    options: LearnOptions, paths: Sequence[Path], masks: MaskOptions | None = None
) -> Sources:
    """The inputs by paths that mean the same from anywhere."""
    base, tower = options.base or default_base(), options.image_tower
    chosen = masks or MaskOptions()
    is_folder = chosen.mask not in {"none", "auto"}
    _refuse_bytes([base, tower or "", chosen.mask_model])
    return Sources(
        base=anywhere(base),
        image_tower=anywhere(tower) if tower else None,
        paths=tuple(map(write_path, paths)),
        mask=write_path(Path(chosen.mask)) if is_folder else chosen.mask,
        mask_model=anywhere(chosen.mask_model),
        skip_bad=options.skip_bad,
    )
