"""What a bench learns, each thing once: kept in a folder named by all that decides it, found there the next time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import torch
from filelock import FileLock

from engine.adapters.file import Kind
from engine.bases import BaseLocation
from engine.benchmark.pairs import Pair
from engine.benchmark.rows import OURS, Look, Move, Row
from engine.benchmark.sources import PairSource, slug
from engine.device import resolve_device, resolve_precision
from engine.learn import learn
from engine.media.clips.reader import Clip
from engine.media.output.staging import output_error, staged
from engine.methods import find_entry
from engine.methods.protocol import Inputs
from engine.recipe import (
    GenerateRecipe,
    LearnRecipe,
    LoraRecipe,
    MotionRecipe,
    Quality,
    SubjectRecipe,
    WordRecipe,
    build_recipe,
    method_recipe,
    motion_recipe,
    subject_recipe,
)

# Subject, motion and generate; or another method by its name.
Part = str
Recipe = LearnRecipe | GenerateRecipe
# The better of 1e-3 and 4e-3, the rate of our own identity adapter, on the development half.
JOINT_RATE = 1e-3
# What a joint LoRA has of a motion's recipe.
ALIKE: Sequence[str] = (
    *("actor", "caption", "noise_bias", "frames", "fps"),
    *("checkpointing", "precision", "seed", "threads", "lanes"),
)
TOKEN = "<subject>"  # noqa: S105 - a word of prompts
FACTS, WEIGHTS = "learned.json", "adapter.safetensors"
# Raised when what is painted, learned or measured changes meaning: nothing kept before is found again.
EDITION = 4

# What a part of a subject leaves out; the other part is learned as ever.
LOOKS: Mapping[Look, Mapping[str, Any]] = {
    "word": {"adapter_steps": 0},
    "adapter": {"word_steps": 0},
    "both": {},
}
# Without guidance every appearance vector is dropped, in learning as in making the video.
MOVES: Mapping[Move, Mapping[str, Any]] = {"guided": {}, "unguided": {"image_drop": 1.0}}


@dataclass(frozen=True, slots=True)
class Kept:
    """An adapter that was learned: its file, how long it took, the digest of all that decided it, and its maker."""

    file: Path
    seconds: float
    digest: str
    maker: str


@dataclass(frozen=True)
class BenchStore:
    """Where a bench learns.

    Attributes:
        location: the base.
        source: of the pairs.
        quality: of the recipes.
        folder: where all is kept; processes that share it make each thing once.
        device: as asked for.
        tried: settings in place of the card's, by part.
        maker: the commit that makes what is not there yet.
    """

    location: BaseLocation
    source: PairSource
    quality: Quality
    folder: Path
    device: str = "auto"
    tried: Mapping[Part, Mapping[str, Any]] = field(default_factory=dict)
    maker: str = ""

    def learn(self, row: Row, pair: Pair, before: Callable[[], None]) -> dict[Kind, Kept]:
        """The adapters of a row by their kind, learned now or before; ``before`` is called before one is learned.

        Raises:
            EngineError: see `engine.learn.learn`.
        """
        kept: dict[Kind, Kept] = {}
        if row.look:
            has_word = find_entry(row.subject_method, "subject").has_word
            inputs = Inputs(photos=self.source.photos(pair), token=TOKEN if has_word else "")
            method, name, look = self._plan_subject(row.subject_method, row.look, pair)
            kept["subject"] = self._keep("subject", method, name, look, inputs, before)
        if row.move:
            inputs, method = Inputs(clips=[self.clip(pair)]), row.motion_method
            is_ours = method == OURS
            move = (
                self.motion_recipe(pair, row.move)
                if is_ours
                else self.method_recipe("motion", method, pair)
            )
            name = f"{pair.motion} {row.move if is_ours else method}"
            kept["motion"] = self._keep("motion", method, name, move, inputs, before)
        if row.is_joint:
            inputs = Inputs(photos=self.source.photos(pair), clips=[self.clip(pair)])
            name, both = f"{pair.subject} {pair.motion}", self.joint_recipe(pair)
            kept["joint"] = self._keep("joint", "lora", name, both, inputs, before)
        return kept

    def _plan_subject(self, method: str, look: Look, pair: Pair) -> tuple[str, str, LearnRecipe]:
        """The method that learns a look, what it is kept as, and its recipe."""
        if method != OURS:
            recipe = self.method_recipe("subject", method, pair)
            return method, f"{pair.subject} {method}", recipe
        whole = self.subject_recipe(pair, look)
        if look == "word":
            return look, pair.subject, msgspec.convert(whole, WordRecipe, from_attributes=True)
        return method, f"{pair.subject} {look}", whole

    def joint_recipe(self, pair: Pair) -> LoraRecipe:
        """As many draws of photos and of the clip as subject and motion take, in about as many updates."""
        look, move = self.subject_recipe(pair, "both"), self.motion_recipe(pair, "guided")
        updates = look.word_steps + look.adapter_steps
        photo_draws, clip_draws = updates * look.batch, move.steps * move.batch
        alike = {name: getattr(move, name) for name in ALIKE}
        return LoraRecipe(
            class_word=pair.class_word,
            photo_draws=photo_draws,
            clip_draws=clip_draws,
            batch=max(1, round((photo_draws + clip_draws) / (updates + move.steps))),
            lr=JOINT_RATE,
            views=look.views,
            **alike,
        )

    def subject_recipe(self, pair: Pair, look: Look) -> SubjectRecipe:
        """The card's recipe with what is tried, less what this look leaves out."""
        given = {"class_word": pair.class_word, **self.tried.get("subject", {})}
        whole = subject_recipe(self.quality, self.location.card.subject, given)
        return msgspec.structs.replace(whole, **LOOKS[look])

    def motion_recipe(self, pair: Pair, move: Move) -> MotionRecipe:
        """The card's recipe with what is tried, at the base's own length and rate."""
        given = {**self._told_of(pair), **self.tried.get("motion", {})}
        whole = motion_recipe(self.quality, self.location.card.motion, given, clips=1)
        return msgspec.structs.replace(whole, **MOVES[move])

    def method_recipe(self, kind: Kind, method: str, pair: Pair) -> LearnRecipe:
        """Another method's recipe: as many draws of photos or of the clip as ours takes, at its own rate.

        Raises:
            RecipeError: a value that is tried cannot be used.
        """
        entry, is_subject = find_entry(method, kind), kind == "subject"
        ours = (
            self.subject_recipe(pair, "both") if is_subject else self.motion_recipe(pair, "guided")
        )
        card = self.location.card.subject if is_subject else self.location.card.motion
        told = {"class_word": pair.class_word} if is_subject else self._told_of(pair)
        given = {**told, "seed": ours.seed, **self.tried.get(method, {})}
        own = method_recipe(entry.recipe, (method, kind), self.quality, card, given)
        draws = sum(ours.stages.values()) * ours.batch
        steps = {"steps": max(1, round(draws / own.batch))}
        return method_recipe(entry.recipe, (method, kind), self.quality, card, {**steps, **given})

    def _told_of(self, pair: Pair) -> dict[str, Any]:
        """What is said of a clip; the base's own length and rate, unless its card names others to learn from."""
        video = self.location.card.video
        own = {name for layer in self.location.card.motion.values() for name in layer}
        size = {"frames": video.frames, "fps": video.fps}
        return {
            "actor": self.source.actor(pair),
            "caption": pair.caption,
            **{name: value for name, value in size.items() if name not in own},
        }

    def generate_recipe(self, pair: Pair, noun: str) -> GenerateRecipe:
        """The card's with what is tried, the pair's prompt with ``noun`` as its subject, a seed of the pair's own."""
        card = self.location.card
        given = {
            **msgspec.to_builtins(card.video),
            **card.generate,
            **self.tried.get("generate", {}),
            "prompt": pair.prompt(noun),
            "seed": pair.number,
        }
        return build_recipe(GenerateRecipe, given)

    def told(self, recipe: Recipe) -> list[Any]:
        """A recipe as digests tell it: its precision settled, and the kind of device that computes."""
        settled = resolve_precision(recipe.precision, self._device)
        return [
            msgspec.to_builtins(msgspec.structs.replace(recipe, precision=settled)),
            self.computes_on,
        ]

    @property
    def computes_on(self) -> str:
        """``cpu``, ``cuda`` or ``mps``."""
        return self._device.type

    @cached_property
    def _device(self) -> torch.device:
        return resolve_device(self.device)

    def clip(self, pair: Pair) -> Clip:
        """The clip that the pair's motion is learned from."""
        recipe = self.motion_recipe(pair, "guided")
        return self.source.clip(pair, frames=recipe.frames, fps=recipe.fps)

    def _keep(  # noqa: PLR0917 - what decides an adapter
        self,
        kind: Kind,
        method: str,
        name: str,
        recipe: LearnRecipe,
        inputs: Inputs,
        before: Callable[[], None],
    ) -> Kept:
        given = [(fact.name, fact.digest) for fact in inputs.facts]
        base = (self.location.fingerprint, self.location.tower_fingerprint)
        digest = digest_of(*base, method, self.told(recipe), given)
        place = self.folder / "learned" / f"{kind}-{slug(name)}-{digest[:12]}"

        def make() -> None:
            before()
            with staged(place, overwrite=False) as folder:
                folder.mkdir()
                learned = learn(
                    kind, recipe, inputs, self.location, folder, method=method, device=self.device
                )
                facts = {"seconds": learned.seconds, "maker": self.maker}
                (folder / FACTS).write_text(json.dumps(facts), "utf-8")

        make_once(place, make)
        facts = json.loads((place / FACTS).read_text("utf-8"))
        return Kept(place / WEIGHTS, float(facts["seconds"]), digest, facts["maker"])


def make_once(place: Path, make: Callable[[], None]) -> None:
    """Make ``place`` unless it is there; of processes that want it one makes it, and the others wait for it.

    Raises:
        OutputError: its folder cannot be written to.
    """
    if place.exists():
        return
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(place.parent / f".{place.name}.lock")
        lock.acquire()
    except OSError as error:
        raise output_error(place, error) from error
    try:
        if not place.exists():
            make()
    finally:
        lock.release()


def digest_of(*facts: Any) -> str:
    """SHA-256 of plain values, as 64 hex digits."""
    text = json.dumps([EDITION, *facts], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
