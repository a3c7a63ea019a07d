"""From the options of `dv subject learn` and `dv motion learn` to a plan: its recipe, its inputs, who scores."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from dreamvideo_cli.errors import UsageError
from dreamvideo_cli.learning.fitness import judge_photos
from dreamvideo_cli.learning.inputs import read_inputs, refuse_photos, settle_mask
from dreamvideo_cli.learning.options import (
    ClipOptions,
    LearnOptions,
    MaskOptions,
    MotionOptions,
    ScoreOptions,
    SubjectOptions,
    motion_settings,
    subject_settings,
)
from dreamvideo_cli.learning.plan import LearnPlan
from dreamvideo_cli.learning.scoring import choose_scorers
from dreamvideo_cli.runs.folders.settings import LearnSettings, Sources
from dreamvideo_cli.settings.places import absolute_name, default_base
from dreamvideo_cli.terminal.options import Shell
from dreamvideo_cli.terminal.progress import show_progress
from dreamvideo_cli.terminal.text import is_utf8, one_line, write_path
from engine.bases import require_image_tower
from engine.bases.checks.fitness import unknown_words
from engine.bases.checks.limits import check_frames
from engine.bases.checks.stand_ins import class_stand_in
from engine.bases.checks.wording import check_class_word, check_prompt
from engine.bases.motion_module import join_names

if TYPE_CHECKING:
    from engine.bases import BaseLocation
    from engine.bases.checks.fitness import FitnessWarning
    from engine.media.photos import Photo


def plan_subject(
    shell: Shell,
    base: BaseLocation,
    asked: SubjectOptions,
    *,
    masks: MaskOptions,
    options: LearnOptions,
    scores: ScoreOptions,
) -> LearnPlan:
    """What learning a subject on ``base`` will do, its photos read.

    Raises:
        ShellError, EngineError: naming what is wrong.
    """
    knows = base.card.knows
    build = partial(subject_settings, base.card.subject, options, asked.class_word, asked.method)
    class_asked = build().class_word
    class_word = class_stand_in(knows, class_asked, unknown_words(knows, class_asked))
    check_class_word(base, class_word)
    recipe = msgspec.structs.replace(build(), class_word=class_word)
    refuse_bytes([masks.mask_model])
    sources = msgspec.structs.replace(
        _sources(options, asked.photos),
        mask=settle_mask(masks, base),
        mask_model=absolute_name(masks.mask_model),
        holdout=asked.holdout,
    )
    warned: list[FitnessWarning] = []

    def look(photos: Sequence[Photo]) -> None:
        warned.extend(judge_photos(shell, base, photos, class_asked))

    with show_progress(shell) as progress:
        inputs = read_inputs(sources, "subject", recipe, options.device, progress, look=look)
    assert inputs.photos is not None
    if inputs.photos.is_photographed:
        recipe = msgspec.structs.replace(build(photographed=True), class_word=class_word)
    if asked.class_word is None:
        said = f'no --class: taking "{class_word}"'
        inputs = replace(inputs, notes=(said, *inputs.notes))
    chosen = choose_scorers(shell, scores, "subject", base)
    settings = _settings(options, sources, asked.method, chosen, scores.patience)
    return LearnPlan(
        "subject", asked.name, base, recipe, inputs, settings, class_asked, tuple(warned)
    )


def plan_motion(
    shell: Shell,
    base: BaseLocation,
    asked: MotionOptions,
    *,
    taken: ClipOptions,
    options: LearnOptions,
    scores: ScoreOptions,
) -> LearnPlan:
    """What learning a motion on ``base`` will do, its clips read.

    Raises:
        ShellError, EngineError: naming what is wrong.
    """
    taken.check_look(asked.method)
    own = taken.recipe_values(asked.name, base.card)
    build = partial(motion_settings, base.card.motion, options, own, method=asked.method)
    recipe = build(clips=len(asked.clips))
    if getattr(recipe, "appearance_guidance", False):
        require_image_tower(base, otherwise="; or learn without: --no-appearance")
    check_frames(base, recipe.frames)
    check_prompt(base, recipe.training_prompt)
    sources = _sources(options, asked.clips)
    inputs = read_inputs(sources, "motion", recipe, options.device)
    if taken.fps is None:
        refuse_photos(inputs.clips)
    if inputs.left_out:
        recipe = build(clips=len(inputs.clips))
    if taken.caption is None:
        said = f'no --caption: taking "{recipe.caption}"'
        inputs = replace(inputs, notes=(said, *inputs.notes))
    chosen = choose_scorers(shell, scores, "motion", base)
    settings = _settings(options, sources, asked.method, chosen, scores.patience)
    return LearnPlan("motion", asked.name, base, recipe, inputs, settings)


def _settings(
    options: LearnOptions,
    sources: Sources,
    method: str,
    scorers: Sequence[str] | None,
    patience: int | None,
) -> LearnSettings:
    """What the flags say beside the recipe."""
    return LearnSettings(
        method=method,
        device=options.device,
        tags=tuple(options.tag or ()),
        note=options.note,
        save_every=options.save_every,
        preview=options.preview,
        track=options.track,
        scored_by=None if scorers is None else tuple(map(absolute_name, scorers)),
        patience=patience,
        sources=sources,
    )


def _sources(options: LearnOptions, paths: Sequence[Path]) -> Sources:
    """The inputs by paths that mean the same from anywhere."""
    base = join_names(options.base or default_base(), options.motion_module)
    tower = options.image_tower
    refuse_bytes([base, tower or ""])
    return Sources(
        base=absolute_name(base),
        image_tower=absolute_name(tower) if tower else None,
        paths=tuple(map(write_path, paths)),
        skip_bad=options.skip_bad,
    )


def refuse_bytes(paths: Iterable[str]) -> None:
    """Refuse a path that is not UTF-8: a run writes down where its models lie, to open them again.

    Raises:
        UsageError: one is not.
    """
    for path in paths:
        if not is_utf8(path):
            message = f"{one_line(path)} is not UTF-8, and a run could not write down where it lies"
            raise UsageError(message, hint="rename it, or copy it to where it can be named")
