"""The options of learning, and the recipe that they make."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from dreamvideo_cli.errors import UsageError
from dreamvideo_cli.terminal.options import (
    MACHINE,
    RUNNING,
    TRAINING,
    Anyway,
    Device,
    DryRun,
    ImageTower,
    MaxTime,
    MotionModule,
    Note,
    Precision,
    Tags,
    option,
)
from dreamvideo_cli.terminal.text import read_duration
from engine.methods import find_entry
from engine.recipe import method_recipe, motion_recipe, subject_recipe

if TYPE_CHECKING:
    from engine.bases.cards import BaseCard

_training = partial(option, panel=TRAINING)
FLAGS = (
    "steps",
    "lr",
    "batch",
    "seed",
    "precision",
    "compile",
)  # that are settings of a recipe too
_running = partial(option, panel=RUNNING)
_machine = partial(option, panel=MACHINE)


@dataclass(frozen=True, slots=True)
class LearnOptions:
    """What learning a subject and learning a motion have in common."""

    quality: Literal["draft", "standard", "max"] = option(
        "How long to learn; draft is a first look.", default="standard"
    )
    tag: Tags = None
    note: Note = None
    if_exists: Literal["new", "skip", "error"] = option(
        "Where the same was learned from the same already.", default="new"
    )
    skip_bad: bool = option("Leave out inputs that cannot be used, and say so.", default=False)
    preview: int | None = option("Make a video every N steps.", metavar="N", min=1)
    dry_run: DryRun = False
    steps: int | None = _training(
        "Updates, of all stages; by default as --quality says.", metavar="N"
    )
    lr: float | None = _training("Learning rate of the adapter.", metavar="F")
    batch: int | None = _training("Samples an update.", metavar="N")
    seed: int = _training("Key of every random number.", default=0, metavar="N")
    setting: list[str] | None = _training(
        "Any field of the recipe, named as -n shows them; repeatable.", "--set", metavar="KEY=VALUE"
    )
    track: Literal["tensorboard", "wandb", "trackio"] | None = _training(
        "Tell a tracker the losses too.", metavar="tensorboard|wandb|trackio"
    )
    max_time: MaxTime = None
    save_every: int | None = _running(
        "Save every N steps, besides every two minutes.", metavar="N", min=1
    )
    fresh: bool = _running("Begin anew where an unfinished run could go on.", default=False)
    base: str | None = _machine("A path, a known name or a hub id.", metavar="BASE")
    image_tower: ImageTower = None
    motion_module: MotionModule = None
    precision: Precision = _machine("Numbers to compute with.", default="auto")
    compile: Literal["auto", "on", "off"] = _machine(
        "Compile the base while learning; auto does where a long run on CUDA gains.", default="auto"
    )
    device: Device = "auto"
    anyway: Anyway = False


SubjectMethod = Literal["dreamvideo", "word", "lora", "dreamix", "reference"]
MotionMethod = Literal["dreamvideo", "lora", "motiondirector", "tune-a-video", "dreamix"]
METHOD = "By which paper's method; see dv help methods."
Name = Annotated[str, typer.Option("--name", metavar="NAME", help="The name to publish it under.")]


@dataclass(frozen=True, slots=True)
class SubjectOptions:
    """Which subject is learned, by which method."""

    photos: Annotated[
        list[Path], typer.Argument(metavar="PHOTO|DIR...", help="A few photos of it.")
    ]
    name: Name
    method: SubjectMethod = option(METHOD, default="dreamvideo")
    class_word: str | None = option("What it is, such as cat.", "--class", metavar="WORD")
    holdout: str | None = option(
        "Keep one out to score against: its name or number.", metavar="PHOTO"
    )


@dataclass(frozen=True, slots=True)
class MotionOptions:
    """Which motion is learned, by which method."""

    clips: Annotated[
        list[Path], typer.Argument(metavar="CLIP...", help="Clips, or folders of frames.")
    ]
    name: Name
    method: MotionMethod = option(METHOD, default="dreamvideo")


def subject_settings(
    card: dict[str, dict[str, Any]],
    options: LearnOptions,
    class_word: str | None,
    method: str = "dreamvideo",
    *,
    photographed: bool = False,
) -> Any:
    """The recipe of a subject; of a word and an adapter `--lr` is the adapter's, and the word's keeps its proportion.

    Raises:
        UsageError, RecipeError: naming the setting.
    """
    given = {"class_word": class_word, "steps": options.steps, **_common_settings(options)}
    values = _with_set(given, options, class_word=class_word)
    if not str(values.get("class_word", "object")).strip():
        raise UsageError("the class word is empty", hint="say what it is: --class cat")
    if method != "dreamvideo":
        rates = {} if options.lr is None else {"lr": options.lr}
        given = {**rates, **values}
        return _recipe_of_method(
            (method, "subject"), options, card, given, photographed=photographed
        )
    build = partial(subject_recipe, options.quality, card, photographed=photographed)
    planned = build(values)
    if options.lr is None:
        return planned
    build({"adapter_lr": options.lr, **values})  # which refuses what is no rate
    scaled = {
        "adapter_lr": options.lr,
        "word_lr": planned.word_lr * options.lr / planned.adapter_lr,
    }
    return build({**scaled, **values})


def motion_settings(
    card: dict[str, dict[str, Any]],
    options: LearnOptions,
    own: dict[str, Any],
    clips: int,
    method: str = "dreamvideo",
) -> Any:
    """The recipe of a motion.

    Raises:
        UsageError, RecipeError: naming the setting.
    """
    given = {**own, "steps": options.steps, "lr": options.lr, **_common_settings(options)}
    values = _with_set(given, options)
    recipe: Any = (
        motion_recipe(options.quality, card, values, clips=clips)
        if method == "dreamvideo"
        else _recipe_of_method((method, "motion"), options, card, values)
    )
    if not recipe.caption.strip():
        hint = 'say what moves how: --caption "moving in a zigzag"'
        raise UsageError("the caption is empty", hint=hint)
    return recipe


def _recipe_of_method(
    method: tuple[str, str],
    options: LearnOptions,
    card: dict[str, dict[str, Any]],
    values: dict[str, Any],
    *,
    photographed: bool = False,
) -> Any:
    return method_recipe(
        find_entry(*method).recipe,
        *(method, options.quality, card, values),
        photographed=photographed,
    )


def _common_settings(options: LearnOptions) -> dict[str, Any]:
    return {
        "batch": options.batch,
        "seed": options.seed,
        "precision": options.precision,
        "compile": {"auto": None, "on": True, "off": False}[options.compile],
    }


def _with_set(
    given: dict[str, Any], options: LearnOptions, *, class_word: str | None = None
) -> dict[str, Any]:
    """What flags give, without what they leave open, and what `--set` adds."""
    values = {name: value for name, value in given.items() if value is not None}
    defaults = {field.name: field.default for field in fields(LearnOptions)}
    said = {name: f"--{name}" for name in FLAGS if getattr(options, name) != defaults[name]}
    if class_word is not None:
        said["class_word"] = "--class"
    for text in options.setting or []:
        key, equals, written = text.partition("=")
        if not equals or not key:
            raise UsageError(f"--set {text!r} is not KEY=VALUE", hint="for example --set seed=1")
        if key in said:
            raise UsageError(f"--set {text} and {said[key]} both say {key}", hint="leave one out")
        said[key] = "--set"
        values[key] = read_value(written)
    return values


def read_deadline(max_time: str | None) -> float | None:
    """When a duration that begins now is over, by `time.monotonic`.

    Raises:
        UsageError: it is no duration.
    """
    return None if max_time is None else time.monotonic() + read_duration(max_time)


def read_value(text: str) -> Any:
    """A number, true, false or null as such; anything else is text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


@dataclass(frozen=True, slots=True)
class ScoreOptions:
    """Which scores are taken while something is learned, and what they are for."""

    score: bool = _training(
        "Score a video at each --save-every, or ten times in all; each waits for a video.",
        default=False,
    )
    scorer: list[str] | None = _training(
        "Who scores; repeatable. By default mini on mini, else what is here.",
        metavar="clip|dino|mini|DIR|ID",
    )
    patience: int | None = _running(
        "Stop after N scores without a better subject score, DINO-I, DINOv2-I, CLIP-I, ViT-I or image of a"
        " subject, motion fidelity of a motion, and publish the best step; without it the last is published.",
        metavar="N",
        min=1,
    )

    @property
    def is_wanted(self) -> bool:
        """Whether any of these asks for scores."""
        return self.score or bool(self.scorer) or self.patience is not None


MASK_MODEL = "CIDAS/clipseg-rd64-refined"


@dataclass(frozen=True, slots=True)
class MaskOptions:
    """Which pixels of the photos are the subject."""

    mask: str | None = option(
        "Masks by the photos' names, white where it is; auto finds it. By default auto of photos on a base"
        " of drawings.",
        metavar="none|auto|DIR",
    )
    mask_model: str = _machine(
        "The CLIPSeg model of --mask auto, which goes by colours without one.",
        default=MASK_MODEL,
        metavar="DIR|ID",
    )


@dataclass(frozen=True, slots=True)
class ClipOptions:
    """What moves in a clip, and which part of it is taken."""

    caption: str | None = option('What moves how, such as "moving in a zigzag".', metavar="TEXT")
    actor: str = option(
        'Who moves in the clip, and where, such as "a man on a street": what words say of the look, the'
        " motion need not hold.",
        default="",
        metavar="TEXT",
    )
    start: float = option("Where to start, in seconds.", default=0.0, metavar="S", min=0)
    end: float | None = option("Where to end, in seconds.", metavar="S")
    frames: int | None = option("Frames to take.", metavar="N")
    fps: float | None = option("Frames a second to take.", metavar="N")
    no_appearance: bool = option(
        "Tell the motion no look: it needs no image tower, and keeps more of the clip's own look.",
        default=False,
    )

    def check_look(self, method: str) -> None:
        """Refuse `--no-appearance` of a method that tells no look anyway.

        Raises:
            UsageError: it is one.
        """
        if self.no_appearance and method != "dreamvideo":
            raise UsageError(
                f"--no-appearance is of --method dreamvideo; {method} tells a motion no look anyway",
                hint="leave it out",
            )

    def recipe_values(self, name: str, card: BaseCard) -> dict[str, Any]:
        """Settings of the recipe; what is left open is as the base's card says, the caption as ``name`` says.

        A base may learn from shorter clips than it makes: then the card's qualities name frames of their own.
        """
        own = {key for layer in card.motion.values() for key in layer}
        frames = None if "frames" in own else card.video.frames
        fps = None if "fps" in own else card.video.fps
        return {
            "actor": self.actor,
            "caption": re.sub(r"[._-]", " ", name) if self.caption is None else self.caption,
            "start_s": self.start,
            "end_s": self.end,
            "frames": frames if self.frames is None else self.frames,
            "fps": fps if self.fps is None else self.fps,
            **({"appearance_guidance": False} if self.no_appearance else {}),
        }
