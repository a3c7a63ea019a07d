"""What evaluation needs of mini's world: pairs of things never trained, with photos, clips and the truth."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from engine.media.pixels import Pixels
from engine.mini.world.captions import name_subject
from engine.mini.world.scenes import (
    Pose,
    Scene,
    draw_background,
    draw_clip,
    draw_still,
    paint_scene,
)
from engine.mini.world.split import list_trained, read_held_out

Half = Literal["development", "test"]
PHOTOS = 5
# Photos and clips to learn from are larger than the base sees, as people's are.
LEARNED_PX = 128
# Keys of the random numbers, so that photos, clips and truths of one name never agree by chance.
PHOTO, CLIP, PAIR, TRUTH, ACTOR = range(5)


@dataclass(frozen=True, slots=True)
class Pair:
    """A subject and a motion, neither of them trained.

    Attributes:
        number: its place in the list of all pairs, from 0.
        subject: the subject's name.
        class_word: what the base may call it.
        motion: the motion's name.
        caption: the motion in words.
        template: the prompt, with {subject}, {a subject} and {motion} in place of words.
        background: in words of the world.
    """

    number: int
    subject: str
    class_word: str
    motion: str
    caption: str
    template: str
    background: str = ""

    def prompt(self, noun: str) -> str:
        """What is asked for, the subject being called ``noun``."""
        named = self.template.replace("{a subject}", name_subject(noun)).replace("{subject}", noun)
        return named.replace("{motion}", self.caption)


def list_pairs(half: Half, count: int) -> tuple[Pair, ...]:
    """The first ``count`` pairs of a half: every subject and every motion as often as any other.

    Raises:
        ValueError: the half has fewer different pairs.
    """
    subjects, motions = half_of(half)
    if count > len(subjects) * len(motions):
        raise ValueError(f"{count} pairs; {half} has {len(subjects) * len(motions)}")
    names = sorted(subjects)
    np.random.default_rng([PAIR, half == "test"]).shuffle(names)
    found = []
    for number in range(count):
        lap, place = divmod(number, len(names))
        motion = motions[(place + lap) % len(motions)]
        rng = np.random.default_rng([PAIR, number])
        subject = names[place]
        background = draw_background(rng, subject)
        template = f"{{a subject}} {{motion}} on a {background} background"
        word = subjects[subject]
        found.append(Pair(number, subject, word, motion, motion, template, background))
    return tuple(found)


def half_of(half: Half) -> tuple[dict[str, str], tuple[str, ...]]:
    """Subjects with their class words, and motions, of one half."""
    held_out = read_held_out()
    if half == "test":
        return held_out.test, held_out.test_motions
    return held_out.development, held_out.development_motions


def paint_photos(subject: str, half: Half) -> tuple[Pixels, ...]:
    """Photos to learn a subject from, each uint8 (h, w, 3): as people take them, near the middle, about upright."""
    subjects, _ = half_of(half)
    place = sorted(subjects).index(subject)
    return paint_album(np.random.default_rng([PHOTO, half == "test", place]), subject)


def paint_album(rng: np.random.Generator, subject: str) -> tuple[Pixels, ...]:
    """Some photos of any subject of the world, as `paint_photos` paints them."""
    scenes = [_plan_photo(rng, subject) for _ in range(PHOTOS)]
    return tuple(paint_scene(scene, side_px=LEARNED_PX)[0] for scene in scenes)


def _plan_photo(rng: np.random.Generator, subject: str) -> Scene:
    x, y = rng.uniform(0.42, 0.58, 2)
    pose = Pose(x, y, rng.uniform(0.48, 0.68), rng.uniform(-8, 8))
    return replace(draw_still(rng, subject=subject), poses=(pose,), style="flat")


def paint_clip(motion: str, half: Half, *, frames: int) -> Pixels:
    """The clip to learn a motion from, uint8 (f, h, w, 3); its actor is no pair's subject, so none is given away."""
    return paint_scene(_plan_clip(motion, half, frames), side_px=LEARNED_PX)


def describe_actor(motion: str, half: Half) -> str:
    """Who moves in that clip, and where, as someone who looks at it would say: "a red cat on a snow background"."""
    scene = _plan_clip(motion, half, frames=1)
    return f"{name_subject(scene.subject)} on a {scene.background} background"


def _plan_clip(motion: str, half: Half, frames: int) -> Scene:
    _, motions = half_of(half)
    rng = np.random.default_rng([CLIP, half == "test", motions.index(motion)])
    return draw_clip(rng, subject=actor_of(motion, half), motion=motion, frames=frames)


def actor_of(motion: str, half: Half) -> str:
    """A trained subject of one colour, another one for every motion."""
    actors = [name for name in list_trained() if len(name.split()) == 2]
    np.random.default_rng(ACTOR).shuffle(actors)
    _, motions = half_of(half)
    return actors[motions.index(motion) + len(motions) * (half == "test")]


def paint_truth(pair: Pair, *, frames: int, side_px: int) -> Pixels:
    """The pair as the world itself shows it: uint8 (f, side, side, 3)."""
    rng = np.random.default_rng([TRUTH, pair.number])
    scene = draw_clip(
        rng,
        subject=pair.subject,
        motion=pair.motion,
        frames=frames,
        background=pair.background,
        style="flat",
    )
    return paint_scene(scene, side_px=side_px)
