"""`dv` in Python: three functions.

>>> from diffusers import WanPipeline  # doctest: +SKIP
>>> from dreamvideo_cli.api import attach  # doctest: +SKIP
>>> pipe = WanPipeline.from_pretrained("Wan-AI/Wan2.1-T2V-1.3B-Diffusers")  # doctest: +SKIP
>>> with attach(pipe, subject="corgi:best", motion="skate=0.8"):  # doctest: +SKIP
...     video = pipe("a <corgi> skating").frames[0]
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import fields, replace
from functools import partial
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, Unpack

import typer

from dreamvideo_cli.errors import UsageError
from dreamvideo_cli.generation.options import SamplingOptions
from dreamvideo_cli.generation.parse import only_given
from dreamvideo_cli.generation.prompt import compose_prompt
from dreamvideo_cli.generation.references import (
    AdapterResolver,
    WeightedAdapter,
    find_base,
    refuse_clashing_words,
    resolve_adapters,
)
from dreamvideo_cli.generation.sources.appearance import (
    Appearance,
    read_appearance,
    settle_appearance,
)
from dreamvideo_cli.generation.start import prompt_words
from dreamvideo_cli.learning.options import (
    ClipOptions,
    LearnOptions,
    MaskOptions,
    MotionOptions,
    ScoreOptions,
    SubjectOptions,
)
from dreamvideo_cli.settings import places
from dreamvideo_cli.terminal.options import Kind, Shell
from engine.errors import BaseNotFoundError
from engine.recipe import GenerateRecipe, build_recipe

if TYPE_CHECKING:
    from engine.bases import BaseLocation
    from registry import Adapter, Registry

References = str | Sequence[str]


def open_registry(folder: str | Path | None = None) -> Registry:
    """The registry in ``folder``, by default the one that `dv` uses here.

    It has `list`, `resolve`, `tag`, `export` and all else that `dv` does with adapters; see the package `registry`.
    """
    return places.open_registry(None if folder is None else Path(folder))


class Shares(TypedDict, total=False):
    """When and how much adapters act, as the flags of `dv gen` of these names say it; each from 0 to 1."""

    identity_from: float | None  # with a motion, the fraction of the steps after which subjects act
    identity_early: float | None  # with a motion, the share of their weight before
    motion_until: float | None  # with a subject, the fraction after which motions no longer act
    subject_uncond: float | None  # of subjects' weight in the unconditional half of guidance
    motion_uncond: float | None  # the same of motions


@contextmanager
def attach(
    pipeline: Any,
    *,
    subject: References = (),
    motion: References = (),
    registry: Registry | str | Path | None = None,
    base: str | Path | None = None,
    appearance: float | str | Path | None = None,
    **shares: Unpack[Shares],
) -> Iterator[tuple[Adapter, ...]]:
    """Let learned subjects and motions act in a pipeline of diffusers until the block ends.

    Prompts are read as `dv gen` reads them, and what one leaves out is added, with a `UserWarning`. All else is the
    pipeline's own. On leaving, by an exception too, it is as it was before. The block gets the adapters that take part,
    pinned: subjects first, then motions.

    Args:
        pipeline: `TextToVideoSDPipeline`, `AnimateDiffPipeline`, `WanPipeline`, or another with their denoisers.
        subject: one or several references as `dv gen --subject` takes them: ``corgi:best=0.8``, ``./fox.dva``.
        motion: likewise. Weight 1 is what was learned, 0 changes no bit of the base.
        registry: where they are looked up, or its folder; by default the one that `dv` uses here.
        base: path, name or hub id of the pipeline's base, where it is not where the adapters say.
        appearance: as `dv gen --appearance` takes it: a strength from 0 to 10, or a photo whose look motions are told.
        **shares: see `Shares`; what is left out or None is as the base's card says.

    Raises:
        UsageError, registry.RegistryError, engine.errors.EngineError: as `dv gen` refuses them.
    """
    from engine.pipelines import equip_pipeline

    uses = _resolve(registry, subject, motion)
    location = _find_base(pipeline, uses, base)
    look = read_appearance(None if appearance is None else str(appearance))
    recipe, read = _recipe(look, uses, location, shares), partial(_read_prompt, uses)
    files = [use.as_engine_use() for use in uses]
    with equip_pipeline(pipeline, location, files, recipe, photo=look.open(), read=read):
        yield tuple(use.adapter for use in uses)


def learn(
    kind: Kind,
    inputs: str | Path | Sequence[str | Path],
    *,
    name: str,
    registry: str | Path | None = None,
    **options: Any,
) -> Adapter:
    """Learn a subject or a motion as `dv subject learn` and `dv motion learn` do, and publish it.

    It is a run as theirs are: stopped by Ctrl-C it is saved, and the same call goes on.

    Args:
        kind: ``subject`` or ``motion``.
        inputs: photos, or folders of them; or clips.
        name: to publish it under.
        registry: folder of the registry; by default the one that `dv` uses here.
        **options: the flags of those commands by their names, such as ``class_word="dog"`` (of ``--class``),
            ``caption=…``, ``base=…``, ``method=…``, ``quality="draft"`` and ``tag=["best"]``; any other name is a field
            of the recipe, as ``--set`` takes it.

    Returns:
        The version that was published; with ``if_exists="skip"`` perhaps one that was there.

    Raises:
        UsageError, registry.RegistryError, engine.errors.EngineError: as the commands refuse it.
    """
    paths = [Path(inputs)] if isinstance(inputs, str | Path) else [Path(path) for path in inputs]
    place = None if registry is None else Path(registry)
    shell = Shell(quiet=True, no_input=True, progress="none", registry=place)
    given = {k: str(v) if isinstance(v, Path) else v for k, v in options.items()}
    given |= {"base": _as_name(given.get("base")), "name": name}
    printed, run = StringIO(), _learner(kind, paths, given)
    with redirect_stdout(printed), suppress(typer.Exit):
        run(shell=shell)
    return open_registry(place).resolve(printed.getvalue().strip(), kind=kind)


def _learner(kind: Kind, paths: list[Path], options: dict[str, Any]) -> Callable[..., None]:
    """The command that learns, with its options."""
    from dreamvideo_cli.commands.learn import learn_motion, learn_subject

    run: Callable[..., None]
    if kind == "subject":
        options["photos"] = paths
        subject, masks = _take(SubjectOptions, options), _take(MaskOptions, options)
        run = partial(learn_subject, asked=subject, masks=masks)
    elif kind == "motion":
        options["clips"] = paths
        motion, taken = _take(MotionOptions, options), _take(ClipOptions, options)
        run = partial(learn_motion, asked=motion, taken=taken)
    else:
        raise UsageError(f"{kind!r} is neither subject nor motion")
    return partial(run, scores=_take(ScoreOptions, options), options=_take_common(options))


Group = TypeVar("Group")


def _take(group: type[Group], options: dict[str, Any]) -> Group:
    """The options of a group, taken out of all of them."""
    names = [field.name for field in fields(group) if field.name in options]  # type: ignore[arg-type]
    return group(**{name: options.pop(name) for name in names})


def _take_common(options: dict[str, Any]) -> LearnOptions:
    """The options of all learning; what no flag is called is a field of the recipe."""
    common = _take(LearnOptions, options)
    settings = [f"{key}={json.dumps(value)}" for key, value in options.items()]
    return replace(common, setting=[*(common.setting or ()), *settings])


def _resolve(
    registry: Registry | str | Path | None, subject: References, motion: References
) -> tuple[WeightedAdapter, ...]:
    """The adapters of all references, pinned."""
    is_place = registry is None or isinstance(registry, str | Path)
    resolver = AdapterResolver(open_registry(registry) if is_place else registry)  # type: ignore[arg-type]
    uses = (
        *resolve_adapters(resolver, "subject", _listed(subject)),
        *resolve_adapters(resolver, "motion", _listed(motion)),
    )
    if not uses:
        raise UsageError("nothing is attached", hint='subject="corgi", motion="skate=0.8", or both')
    refuse_clashing_words(uses)
    return uses


def _listed(references: References) -> Sequence[str]:
    return [references] if isinstance(references, str) else references


def _find_base(
    pipeline: Any, uses: Sequence[WeightedAdapter], base: str | Path | None
) -> BaseLocation:
    """The base that is named, else the one that the adapters say, else where the pipeline was opened from."""
    options = SamplingOptions(base=_as_name(base))
    try:
        return find_base(uses, options)
    except BaseNotFoundError:
        own = getattr(pipeline, "name_or_path", None)
        if base is not None or not own:
            raise
        return find_base(uses, replace(options, base=_as_name(own)))


def _as_name(base: str | Path | None) -> str | None:
    """A folder as its absolute path, for a name is no path; anything else as it is."""
    is_folder = isinstance(base, Path) or (base is not None and Path(base).expanduser().is_dir())
    return str(Path(base).expanduser().absolute()) if is_folder and base else base  # type: ignore[return-value]


def _recipe(
    look: Appearance, uses: Sequence[WeightedAdapter], location: BaseLocation, shares: Shares
) -> GenerateRecipe:
    """How the pipeline is equipped: as the base's card says, but for what is asked for."""
    if unknown := shares.keys() - Shares.__annotations__:
        raise TypeError(f"attach() takes no {', '.join(sorted(unknown))}")
    card, given = location.card.generate_defaults, only_given(**shares)
    appearance, _ = settle_appearance(look, uses, location, card)
    return build_recipe(GenerateRecipe, {**card, **appearance, **given, "prompt": ""})


def _read_prompt(uses: Sequence[WeightedAdapter], prompt: str) -> str:
    """As `dv gen` would send it; what is added is said."""
    composed = compose_prompt(prompt, prompt_words(uses))
    for note in composed.notes:
        warnings.warn(note, stacklevel=2)
    return composed.sent
