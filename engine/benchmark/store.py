"""What a bench learns, each thing once: kept in a folder named by all that decides it, found there the next time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
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
from engine.benchmark.rows import OURS, Look, Move
from engine.benchmark.sources import PairSource, slug
from engine.device import resolve_device, resolve_precision
from engine.drafts import draft_in
from engine.learn import learn
from engine.media.clips.reader import Clip
from engine.media.output.staging import output_error
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
class Workshop:
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

    def subject(
        self, pair: Pair, look: Look, before: Callable[[], None], method: str = OURS
    ) -> Kept:
        """The pair's subject, learned as ``look`` says, now or before; ``before`` is called before it is learned."""
        photos = self.source.photos(pair)
        if method != OURS:
            entry, recipe = (
                find_entry(method, "subject"),
                self.method_recipe("subject", method, pair),
            )
            inputs = Inputs(photos=photos, token=TOKEN if entry.has_word else "")
            return self._keep("subject", method, f"{pair.subject} {method}", recipe, inputs, before)
        whole = self.subject_recipe(pair, look)
        inputs = Inputs(photos=photos, token=TOKEN)
        if look == "word":
            named = {name: getattr(whole, name) for name in WordRecipe.__struct_fields__}
            return self._keep("subject", "word", pair.subject, WordRecipe(**named), inputs, before)
        name = f"{pair.subject} {look}"
        return self._keep("subject", "dreamvideo", name, whole, inputs, before)

    def motion(
        self, pair: Pair, move: Move, before: Callable[[], None], method: str = OURS
    ) -> Kept:
        """The pair's motion, learned as ``move`` says, now or before; ``before`` is called before it is learned."""
        inputs = Inputs(clips=[self.clip(pair)])
        if method != OURS:
            theirs = self.method_recipe("motion", method, pair)
            return self._keep("motion", method, f"{pair.motion} {method}", theirs, inputs, before)
        recipe = self.motion_recipe(pair, move)
        name = f"{pair.motion} {move}"
        return self._keep("motion", "dreamvideo", name, recipe, inputs, before)

    def joint(self, pair: Pair, before: Callable[[], None]) -> Kept:
        """Subject and motion of the pair by one LoRA, learned now or before."""
        inputs = Inputs(photos=self.source.photos(pair), clips=[self.clip(pair)])
        name = f"{pair.subject} {pair.motion}"
        return self._keep("joint", "lora", name, self.joint_recipe(pair), inputs, before)

    def joint_recipe(self, pair: Pair) -> LoraRecipe:
        """As many draws of photos and of the clip as subject and motion take, in about as many updates."""
        look, move = self.subject_recipe(pair, "both"), self.motion_recipe(pair, "guided")
        updates = look.word_steps + look.adapter_steps
        photo_draws, clip_draws = updates * look.batch, move.steps * move.batch
        return LoraRecipe(
            class_word=pair.class_word,
            actor=move.actor,
            caption=move.caption,
            photo_draws=photo_draws,
            clip_draws=clip_draws,
            batch=max(1, round((photo_draws + clip_draws) / (updates + move.steps))),
            lr=JOINT_RATE,
            noise_bias=move.noise_bias,
            views=look.views,
            frames=move.frames,
            fps=move.fps,
            checkpointing=move.checkpointing,
            precision=move.precision,
            seed=move.seed,
            threads=move.threads,
            lanes=move.lanes,
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
            with fresh_folder(place) as folder:
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


@contextmanager
def fresh_folder(place: Path) -> Iterator[Path]:
    """Lend a folder that becomes ``place``, whole, when the block ends.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        with draft_in(place.parent) as draft:
            draft.mkdir()
            yield draft
            draft.rename(place)
    except OSError as error:
        raise output_error(place, error) from error


def digest_of(*facts: Any) -> str:
    """SHA-256 of plain values, as 64 hex digits."""
    text = json.dumps([EDITION, *facts], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
