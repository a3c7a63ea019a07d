"""`dv subject learn` and `dv motion learn`."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
import typer

from dreamvideo_cli.errors import ExistsError, UsageError
from dreamvideo_cli.generation.prompt import EVERYDAY
from dreamvideo_cli.learning.fitness import judge_photos, judge_plan
from dreamvideo_cli.learning.inputs import Sources, read_inputs, refuse_photos, settle_mask
from dreamvideo_cli.learning.options import (
    ClipOptions,
    LearnOptions,
    MaskOptions,
    ScoreOptions,
    motion_settings,
    read_deadline,
    subject_settings,
)
from dreamvideo_cli.learning.plan import LearnPlan, LearnSettings, check_space
from dreamvideo_cli.learning.publish import find_equal
from dreamvideo_cli.learning.resume import find_unfinished
from dreamvideo_cli.learning.scoring import choose_scorers
from dreamvideo_cli.learning.train import RunOptions, continuing_line, train
from dreamvideo_cli.settings.keys import check_device
from dreamvideo_cli.settings.places import (
    absolute_name,
    default_base,
    locate_whole,
    open_registry,
    state_folder,
)
from dreamvideo_cli.terminal.options import Kind, Shell
from dreamvideo_cli.terminal.output import info, show
from dreamvideo_cli.terminal.processes import quiet_other_ranks, read_rank
from dreamvideo_cli.terminal.progress import show_progress, silent_libraries
from dreamvideo_cli.terminal.text import is_utf8, one_line, write_path
from dreamvideo_cli.views.adapters import label
from dreamvideo_cli.views.estimates import estimate_learning
from dreamvideo_cli.views.learning import (
    learn_plan_view,
    learned_view,
    next_lines,
    stopping_in_time,
)
from engine.bases import require_image_tower
from engine.bases.checks.fitness import unknown_words
from engine.bases.checks.limits import check_frames
from engine.bases.checks.stand_ins import class_stand_in
from engine.bases.checks.wording import check_class_word, check_prompt
from engine.bases.motion_module import join_names
from engine.hardware import require_device
from engine.methods import check_family

if TYPE_CHECKING:
    from engine.bases import BaseLocation
    from engine.bases.checks.fitness import FitnessWarning
    from engine.media.photos import Photo
    from registry import Adapter, Registry

SubjectMethod = Literal["dreamvideo", "word", "lora", "dreamix", "reference"]
MotionMethod = Literal["dreamvideo", "lora", "motiondirector", "tune-a-video", "dreamix"]
METHOD = "By which paper's method; see dv help methods."
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
    method: Annotated[SubjectMethod, typer.Option(help=METHOD)] = "dreamvideo",
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
    shell, terms = quiet_other_ranks(shell), _run_options(options)
    store = _open_store(shell, "subject", name, options)
    base = _locate(options, "subject", method)
    recipe = subject_settings(base.card.subject, options, class_word, method)
    asked, recipe = recipe.class_word, _in_known_words(base, recipe)
    check_class_word(base, recipe.class_word)
    _refuse_bytes([masks.mask_model])
    sources = msgspec.structs.replace(
        _sources(options, photos),
        mask=settle_mask(masks, base),
        mask_model=absolute_name(masks.mask_model),
        holdout=holdout,
    )
    told: list[FitnessWarning] = []

    def look(photos: "Sequence[Photo]") -> None:
        told.extend(judge_photos(shell, base, photos, asked))

    with show_progress(shell) as progress:
        inputs = read_inputs(sources, "subject", recipe, options.device, progress, look=look)
    assert inputs.photos is not None
    if inputs.photos.is_photographed:
        card = base.card.subject
        own = subject_settings(card, options, class_word, method, photographed=True)
        recipe = msgspec.structs.replace(own, class_word=recipe.class_word)
    if class_word is None:
        info(shell, f'no --class: taking "{recipe.class_word}"')
    for note in inputs.notes:
        info(shell, note)
    settings = _settings(
        shell, options, scores, sources=sources, kind="subject", base=base, method=method
    )
    plan = LearnPlan("subject", name, base, recipe, inputs, settings, asked)
    warnings = _begin(shell, store, plan, options, told)
    with stopping_in_time(shell):
        adapter = train(shell, store, plan, terms)
    _show(shell, store, adapter, warnings, options)


def learn_motion(
    *,
    clips: Annotated[
        list[Path], typer.Argument(metavar="CLIP...", help="Clips, or folders of frames.")
    ],
    name: Name,
    taken: ClipOptions,
    options: LearnOptions,
    scores: ScoreOptions,
    shell: Shell,
    method: Annotated[MotionMethod, typer.Option(help=METHOD)] = "dreamvideo",
) -> None:
    """Learn a motion from a clip or several.

    Example: dv motion learn ./dv-demo/clip.mp4 --name zigzag --caption "moving in a zigzag"
    """
    shell, terms = quiet_other_ranks(shell), _run_options(options)
    store = _open_store(shell, "motion", name, options)
    base = _locate(options, "motion", method)
    taken.check_look(method)
    own = taken.recipe_values(name, base.card)
    recipe = motion_settings(base.card.motion, options, own, len(clips), method)
    if getattr(recipe, "appearance_guidance", False):
        require_image_tower(base, otherwise="; or learn without: --no-appearance")
    check_frames(base, recipe.frames)
    check_prompt(base, recipe.training_prompt)
    sources = _sources(options, clips)
    inputs = read_inputs(sources, "motion", recipe, options.device)
    if taken.fps is None:
        refuse_photos(inputs.clips)
    if taken.caption is None:
        info(shell, f'no --caption: taking "{recipe.caption}"')
    for note in inputs.notes:
        info(shell, note)
    if inputs.left_out:
        recipe = motion_settings(base.card.motion, options, own, len(inputs.clips), method)
    settings = _settings(
        shell, options, scores, sources=sources, kind="motion", base=base, method=method
    )
    plan = LearnPlan("motion", name, base, recipe, inputs, settings)
    warnings = _begin(shell, store, plan, options)
    with stopping_in_time(shell):
        adapter = train(shell, store, plan, terms)
    _show(shell, store, adapter, warnings, options)


def _in_known_words(base: "BaseLocation", recipe: Any) -> Any:
    """The recipe with a class word that the base knows; which is said with the plan's warnings."""
    knows = base.card.knows
    known = class_stand_in(knows, recipe.class_word, unknown_words(knows, recipe.class_word))
    return msgspec.structs.replace(recipe, class_word=known)


def _locate(options: LearnOptions, kind: Kind, method: str) -> "BaseLocation":
    """The base that is named, or the default; it is whole, and the method makes sense on it."""
    name = options.base or default_base()
    base = locate_whole(name, options.image_tower, options.motion_module)
    check_family(method, kind, base.family)
    return base


def _run_options(options: LearnOptions) -> RunOptions:
    """Which run the flags want."""
    return RunOptions(fresh=options.fresh, deadline=read_deadline(options.max_time))


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


def _begin(
    shell: Shell,
    store: "Registry",
    plan: LearnPlan,
    options: LearnOptions,
    told: "Sequence[FitnessWarning]" = (),
) -> "Sequence[FitnessWarning]":
    """Check what is left to check, and say what speaks against the plan and is not ``told``."""
    check_space(
        [store.layout.root, state_folder()],
        plan.base,
        is_scored=plan.is_scored,
        weights_share=plan.recipe.weights_share,
    )
    if options.dry_run and read_rank().index:
        raise typer.Exit
    if options.if_exists != "new" and not options.dry_run:
        _take_equal(shell, store, plan, options)
    expected_s = estimate_learning(plan)
    warnings = judge_plan(shell, plan, expected_s, anyway=options.anyway, told=told)
    going_on = None if options.fresh else find_unfinished(store, plan)
    if options.dry_run:
        if going_on:
            info(shell, continuing_line(going_on))
        with silent_libraries():
            show(shell, learn_plan_view(store, plan, expected_s, warnings))
        raise typer.Exit
    return warnings


def _take_equal(shell: Shell, store: "Registry", plan: LearnPlan, options: LearnOptions) -> None:
    """Show the version that was learned from the same, where there is one."""
    equal = find_equal(store, plan)
    if equal is None:
        return
    if options.if_exists == "error":
        raise ExistsError(
            f"{label(equal)} was learned from the same with the same recipe",
            hint="--if-exists skip takes it, --if-exists new learns again",
        )
    if not read_rank().index:
        info(shell, f"{label(equal)} was learned from the same: nothing to learn")
        for tag in options.tag or []:
            store.tag(str(equal), tag, kind=equal.kind)
            info(shell, f"{equal.name}:{tag} -> {label(equal)}")
        show(shell, learned_view(equal))
    raise typer.Exit


def _show(
    shell: Shell,
    store: "Registry",
    adapter: "Adapter | None",
    warnings: "Sequence[FitnessWarning]",
    options: LearnOptions,
) -> None:
    """Show what was learned, and what to do with it; in all but the first of several processes nothing."""
    if adapter is None:
        return
    show(shell, learned_view(adapter, warnings))
    for line in next_lines(store, adapter):
        info(shell, line)
    if options.quality == "draft" and adapter.version > 1:
        name, before = adapter.name, adapter.version - 1
        info(shell, f"hint: this draft is {name}:latest now; {name}:v{before} is the one before it")


def _settings(
    shell: Shell,
    options: LearnOptions,
    scores: ScoreOptions,
    *,
    sources: Sources,
    kind: Kind,
    base: "BaseLocation",
    method: str,
) -> LearnSettings:
    """What the flags say beside the recipe; who scores is settled before the wait."""
    chosen = choose_scorers(shell, scores, kind, base)
    return LearnSettings(
        method=method,
        device=options.device,
        tags=tuple(options.tag or ()),
        note=options.note,
        save_every=options.save_every,
        preview=options.preview,
        track=options.track,
        scored_by=None if chosen is None else tuple(map(absolute_name, chosen)),
        patience=scores.patience,
        sources=sources,
    )


def _refuse_bytes(paths: Iterable[str]) -> None:
    """A run writes down where its models lie, to open them again, and its files are UTF-8."""
    for path in paths:
        if not is_utf8(path):
            message = f"{one_line(path)} is not UTF-8, and a run could not write down where it lies"
            raise UsageError(message, hint="rename it, or copy it to where it can be named")


def _sources(options: LearnOptions, paths: Sequence[Path]) -> Sources:
    """The inputs by paths that mean the same from anywhere."""
    base = join_names(options.base or default_base(), options.motion_module)
    tower = options.image_tower
    _refuse_bytes([base, tower or ""])
    return Sources(
        base=absolute_name(base),
        image_tower=absolute_name(tower) if tower else None,
        paths=tuple(map(write_path, paths)),
        skip_bad=options.skip_bad,
    )
