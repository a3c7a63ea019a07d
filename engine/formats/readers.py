"""What each kind of foreign file holds: a word, low-rank layers, bottlenecks; one line of `FORMATS` a kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from engine.adapters.delta import ROLES
from engine.adapters.file import WORD, Kind, SiteFact, Storage
from engine.bases.protocol import Role
from engine.errors import IncompatibleError
from engine.formats import lora, motiondirector, vgen, words
from engine.formats.opening import Opened, open_file
from engine.formats.spellings import EXPERTS
from engine.formats.target import Target
from engine.media.files import printable

# What VGen learns a motion of one clip with, where its file does not say.
VGEN_MOTION: Mapping[str, Any] = {
    "appearance_cond": 1.0,
    "appearance_uncond": 1.0,
    "image_drop": 0.5,
    "frames": 32,
    "fps": 8.0,
}


VGEN_NOTE = (
    "taken for a motion of one clip, which is told the look in both halves of guidance; VGen starts videos from offset"
    " noise, and dv does not"
)


@dataclass(frozen=True, slots=True)
class Wish:
    """What a foreign file does not say of itself."""

    name: str  # of the adapter; a subject's word is ``<name>``
    kind: Kind | None = None  # ``subject`` or ``motion``, or None where the file shows it
    class_word: str = "object"  # what a subject is a kind of, as prompts say it
    caption: str = ""  # of a motion
    expert: str | None = None  # ``high`` or ``low``: the expert of two that a LoRA is for, or None
    # file of the word that goes with the bottlenecks of a subject, or None
    word: Path | None = None


@dataclass(frozen=True, slots=True)
class Half:
    """An adapter out of a foreign file: its kind, what its tensors are, and how it was learned, as far as is known.

    ``note`` is what people must know of it.
    """

    kind: Kind
    method: str
    storage: Storage
    tensors: Mapping[str, Tensor]
    sites: tuple[SiteFact, ...] = ()
    recipe: Mapping[str, Any] = field(default_factory=dict)
    width_ratio: float | None = None
    condition_width: int | None = None
    has_word: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of foreign file."""

    what: str  # how people call it
    knows: Callable[[Opened], bool]  # whether a file is one
    read: Callable[[Opened, Target, Wish], Iterator[Half]]  # the adapters in it
    check: Callable[[Opened], object] = lambda _: None  # refuses what no base takes


def _read_word(opened: Opened, target: Target, _wish: Wish) -> Iterator[Half]:
    found = words.find_word(opened, target.word_width, target.name)
    recipe = {"format": found.layout, "placeholder": printable(found.placeholder)[:100]}
    yield Half("subject", "word", "word", {WORD: found.vectors}, recipe=recipe, has_word=True)


def _read_lora(opened: Opened, target: Target, wish: Wish) -> Iterator[Half]:
    spelling = lora.spelling_of(opened)
    component = EXPERTS.get(wish.expert or "")
    layers = lora.read_layers(opened, target.slots, base=target.name, component=component)
    yield from _halves(opened, layers, target, wish, ("lora", spelling.name))


def _read_list(opened: Opened, target: Target, wish: Wish) -> Iterator[Half]:
    layers = motiondirector.read_list(opened, target.slots, base=target.name)
    yield from _halves(opened, layers, target, wish, ("motiondirector", "motiondirector"))


def _halves(
    opened: Opened,
    layers: Mapping[str, tuple[Tensor, Tensor]],
    target: Target,
    wish: Wish,
    called: tuple[str, str],
) -> Iterator[Half]:
    """Low-rank layers as a subject, a motion or one of each, by where they sit."""
    method, layout = called
    by_kind: dict[Kind, list[str]] = {}
    for path in layers:
        by_kind.setdefault(_kind_at(opened, path, target, wish), []).append(path)
    for kind, paths in sorted(by_kind.items(), reverse=True):
        ranks = [layers[path][0].shape[0] for path in paths]
        tensors = {}
        for path in paths:
            tensors[f"{path}.down.weight"], tensors[f"{path}.up.weight"] = layers[path]
        sites = tuple(SiteFact(path, layers[path][0].shape[1]) for path in paths)
        recipe: dict[str, Any] = {"format": layout, "rank": max(ranks)}
        if convolutions := [path for path in paths if path in target.convolutions]:
            recipe["convolutions"] = convolutions
        yield Half(kind, method, "low-rank", tensors, sites, recipe)


def _kind_at(opened: Opened, path: str, target: Target, wish: Wish) -> Kind:
    """What a layer holds: how something moves or how it looks; where layers do both, what the caller says."""
    is_motion = target.is_motion(path)
    if is_motion is not None:
        return "motion" if is_motion else "subject"
    if wish.kind is None:
        raise IncompatibleError(
            f"{opened.path} does not show whether it holds a subject or a motion: every layer of {target.name} sees"
            " both space and time",
            hint="--kind subject or --kind motion says it",
            code="format.kind_needed",
        )
    return wish.kind


def _read_vgen(opened: Opened, target: Target, wish: Wish) -> Iterator[Half]:
    if target.location.family.name != "unet3d":
        raise IncompatibleError(
            f"{opened.path} holds bottlenecks of DreamVideo, which are for ModelScope; {target.name} is of the family"
            f" {target.location.family.name}",
            hint="--base modelscope",
            code="format.other_base",
        )
    roles: tuple[Role, Role] = ("identity", "motion")
    sites = {role: target.base.sites(role) for role in roles}
    role, tensors = vgen.read_bottlenecks(opened, sites, layers=target.layers, base=target.name)
    kind: Kind = next(kind for kind, own in ROLES.items() if own == role)
    condition = tensors.get(f"{sites[role][0].name}.cond.weight")
    word = _word_beside(target, wish) if kind == "subject" and wish.word else {}
    yield Half(
        kind,
        "dreamvideo",
        "bottlenecks",
        {**tensors, **word},
        tuple(SiteFact(site.name, site.width) for site in sites[role]),
        {"format": "vgen", **(VGEN_MOTION if kind == "motion" else {})},
        vgen.width_ratio(opened, tensors, sites[role]),
        None if condition is None else condition.shape[1],
        has_word=bool(word),
        note=VGEN_NOTE if kind == "motion" else "",
    )


def _word_beside(target: Target, wish: Wish) -> dict[str, Tensor]:
    """The word that VGen keeps in a file of its own."""
    assert wish.word is not None
    opened = open_file(wish.word)
    if not words.is_word(opened):
        raise IncompatibleError(
            f"{wish.word} holds no word", hint="--word names the file of the learned word"
        )
    return {WORD: words.find_word(opened, target.word_width, target.name).vectors}


# The first that knows a file reads it.
FORMATS = (
    Format(
        "bottlenecks of DreamVideo",
        lambda opened: vgen.is_adapter(opened.tensors),
        _read_vgen,
    ),
    Format("a list of MotionDirector", lambda o: o.is_list, _read_list),
    Format("a LoRA", lambda o: lora.is_lora(o.tensors), _read_lora, lora.spelling_of),
    Format("a learned word", words.is_word, _read_word),
)
