"""The recipes, each field with its range, and how one is built of plain values."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, TypeVar, get_args, get_type_hints

import msgspec
from msgspec import Meta, Struct

from engine import sources
from engine.errors import RecipeError
from engine.sources import Digest, Probability, Strength

Quality = Literal["draft", "standard", "max"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
Sampler = Literal["ddim", "dpm++", "unipc", "euler"]

MOST_STEPS = 1_000_000_000
PositiveInt = Annotated[int, Meta(ge=1, le=MOST_STEPS)]
Frames = Annotated[int, Meta(ge=1, le=4096)]
Count = Annotated[int, Meta(ge=0)]
Rate = Annotated[float, Meta(gt=0.0, le=1.0)]
Memory = Literal["low", "auto", "high"]
MOST_TOGETHER = 64  # videos in one call of the network
SEEDS = 2**32
Seed = Annotated[int, Meta(ge=0, le=SEEDS - 1)]  # torch's CPU generator takes 32 bits
Threads = Annotated[int, Meta(ge=0, le=256)]  # 0: as many as the machine has cores
# On the CPU an update's samples are shared among so many threads of one core each; see `engine.training.gradients`.
Lanes = Annotated[int, Meta(ge=1, le=64)]
# "auto" is settled by what the device turns out to have.
Switch = bool | Literal["auto"]
Views = Annotated[int, Meta(ge=1, le=64)]
PhotoFrames = Annotated[int, Meta(ge=1, le=64)]
WidthRatio = Annotated[float, Meta(gt=0.0, le=4.0)]
Rank = Annotated[int, Meta(ge=1, le=1024)]


class LearnRecipe(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every way of learning is told.

    Rates are AdamW's; ``batch`` counts the samples of an update and ``accumulate`` the parts it is computed in.
    ``checkpointing`` computes the denoiser's blocks again in the backward pass instead of keeping what they need: a
    third of a step longer, and less memory. "auto" begins without and does it once memory runs out, or, where the
    device is the CPU, from the start if the estimate is more than is free. It changes no number. ``compile`` compiles
    those blocks after some steps, which changes numbers in their last bits; "auto" does so on CUDA alone, where the
    steps that are left should pay for it, and takes it back if they would not. ``uncond`` changes nothing that is
    learned: it is the share of its weight that the adapter has by default in the unconditional half of guidance; see
    `GenerateRecipe`.
    """

    batch: PositiveInt = 4
    accumulate: PositiveInt = 1
    clip_norm: Annotated[float, Meta(gt=0.0)] = 1.0
    weight_decay: Annotated[float, Meta(ge=0.0)] = 0.01
    checkpointing: Switch = "auto"
    compile: Switch = "auto"
    precision: Precision = "auto"
    seed: Seed = 0
    threads: Threads = 0
    uncond: Probability = 1.0

    # The stages in their order, each with the field that counts its updates.
    counted: ClassVar[Mapping[str, str]] = {}
    # Of a method that changes the base's weights the share of them that it changes, on ModelScope; else 0.
    weights_share: ClassVar[float] = 0.0

    @property
    def stages(self) -> dict[str, int]:
        """The updates of each stage, in their order."""
        return {stage: getattr(self, name) for stage, name in self.counted.items()}

    @property
    def has_clips(self) -> bool:
        """Whether clips are learned from."""
        return False


class ClipRecipe(LearnRecipe, frozen=True, kw_only=True):
    """What every way of learning a motion is told.

    ``actor`` says in the base's words who moves, and where: "a man on a street". It is said before ``caption`` while
    learning and never when a video is made, so that the base draws what it has words for and the adapter need not.
    ``noise_bias`` below 1 learns more at timesteps of much noise, where a motion is decided; see
    `engine.diffusion.path.NoisePath.draw_time`. ``start_s`` and ``end_s`` say which part of each clip is taken.
    """

    actor: str = ""
    caption: str = ""
    noise_bias: Rate = 1.0
    frames: Frames = 16
    fps: Annotated[float, Meta(gt=0.0, le=240.0)] = 8.0
    start_s: Annotated[float, Meta(ge=0.0)] = 0.0
    end_s: Annotated[float, Meta(gt=0.0)] | None = None
    lanes: Lanes = 1

    @property
    def training_prompt(self) -> str:
        """What the base is told while learning: who moves, and how."""
        return f"{self.actor} {self.caption}".strip()

    @property
    def has_clips(self) -> bool:
        """See `LearnRecipe.has_clips`."""
        return True


class WordRecipe(LearnRecipe, frozen=True, kw_only=True):
    """How a word alone is learned; fields as in `SubjectRecipe`."""

    class_word: str = "object"
    word_steps: Count = 3000
    word_lr: Rate = 1e-4
    views: Views = 1
    photo_frames: PhotoFrames = 1

    counted: ClassVar[Mapping[str, str]] = {"learn the word": "word_steps"}


class SubjectRecipe(WordRecipe, frozen=True, kw_only=True):
    """How a subject is learned: first the word, then the identity adapter with the word frozen.

    ``width_ratio`` is the bottleneck's hidden width over the stream's. ``views`` counts how often each photo is seen:
    once as it is, otherwise smaller and elsewhere in the frame; see `engine.media.photos.views`. ``photo_frames`` is
    how many latent frames a photo stands still for: with several, each under its own noise, the layers of time see what
    is learned, and it stays the same from frame to frame where a base has never seen the like.

    Paper: arXiv 2312.04433, section 3.1 and its implementation details.
    Differs: adapter steps stand in the middle of the paper's 500 to 1000; neither ``views`` nor ``photo_frames`` other
    than 1 are the paper's.
    """

    adapter_steps: Count = 800
    adapter_lr: Rate = 1e-5
    width_ratio: WidthRatio = 0.5
    lanes: Lanes = 1

    counted: ClassVar[Mapping[str, str]] = {
        "learn the word": "word_steps",
        "learn the look": "adapter_steps",
    }


class MotionRecipe(ClipRecipe, frozen=True, kw_only=True):
    """How a motion is learned: the motion adapter, with appearance guidance.

    ``text_drop`` and ``image_drop`` are the probabilities with which a sample's caption becomes the empty prompt and
    its appearance vector zeros. ``appearance_cond`` and ``appearance_uncond`` are the strengths that `generate` uses
    by default in the two halves of guidance. Without ``appearance_guidance`` the adapter is told no look, and the base
    needs no image tower. ``placement`` says where the bottlenecks sit; see `engine.bases.protocol.Base.sites`.

    Paper: arXiv 2312.04433, section 3.2 and its implementation details, the column for one clip.
    Differs: neither an ``actor`` nor a ``noise_bias`` other than 1 is the paper's.
    """

    appearance_guidance: bool = True
    steps: PositiveInt = 1500
    lr: Rate = 1e-5
    batch: PositiveInt = 1
    text_drop: Probability = 0.5
    image_drop: Probability = 0.5
    appearance_cond: Strength = 1.0
    appearance_uncond: Strength = 1.0
    placement: Literal["parts", "blocks"] = "parts"
    width_ratio: WidthRatio = 0.5

    counted: ClassVar[Mapping[str, str]] = {"learn the motion": "steps"}


class LoraRecipe(ClipRecipe, frozen=True, kw_only=True):
    """How low-rank layers are learned, of photos, clips or both.

    ``photo_draws`` and ``clip_draws`` count how often a photo and a clip is drawn over the whole run; updates take
    ``batch`` draws each. Photos are told as "a {``class_word``}", clips by ``actor`` and ``caption``; the rest is as in
    `SubjectRecipe` and `MotionRecipe`.
    """

    class_word: str = "object"
    photo_draws: Count = 0
    clip_draws: Count = 0
    rank: Rank = 16
    lr: Rate = 1e-4
    views: Views = 1

    counted: ClassVar[Mapping[str, str]] = {"learn by lora": "steps"}

    @property
    def steps(self) -> int:
        """Updates, the last of which may take fewer draws."""
        return math.ceil((self.photo_draws + self.clip_draws) / self.batch)

    @property
    def has_clips(self) -> bool:
        """See `LearnRecipe.has_clips`."""
        return self.clip_draws > 0


class GenerateRecipe(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a video is made.

    ``prompt`` is the final one, in which a learned word stands as its token (``<corgi>``). ``guidance_low`` is the
    guidance of a base's expert for little noise, where it has one; None: the same. ``shift`` moves the steps of flow
    matching towards much noise; None: as the base's scheduler says. ``appearance`` multiplies the strengths that each
    motion was learned for; 0 leaves the look out. ``appearance_cond`` and ``appearance_uncond``, where they are not
    None, stand in place of the learned ones. ``appearance_photo`` is the SHA-256 of a photo whose look the motions are
    told; None tells them the subjects' own. ``identity_from`` is the fraction of the steps after which the identity
    adapters act in full, ``identity_early`` the share of their weight before, and ``motion_until`` the one after which
    the motion adapters no longer do: the first steps lay out the motion, the last ones the look. They hold where
    subjects and motions are composed; one kind alone acts all the time. ``subject_uncond`` and ``motion_uncond`` are
    the shares of the adapters' weights in the unconditional half of guidance: below 1, guidance leads towards what was
    learned as it leads towards the prompt, at no cost; None: as each was learned for. ``guidance_from`` and
    ``guidance_until`` are the fractions of the steps between which there is guidance; the other steps call the network
    for the prompt alone, which is half the work. ``accelerator`` is the SHA-256 of the file that changed the base's own
    weights; see `engine.bases.accelerators`. ``source``, ``inversion``, ``structure`` and ``reference`` are told of in
    `engine.sources`; ``refine`` counts rounds of FreeInit, each of which samples anew from what the last one gave.
    ``batch`` is the number of videos in one call of the network, and may change their last bits; the noise of each is
    its seed's alone. With ``memory`` low the halves of guidance are computed one after the other, frames decoded by
    themselves, and the text tower given back once it has read; high never does so, and auto where memory runs out,
    which may change last bits too.

    Paper: arXiv 2312.04433, section 4.1: DDIM, 50 steps, guidance 9. Guidance within an interval: arXiv 2404.07724.
    Guidance away from a model that knows less: arXiv 2406.02507 (autoguidance), here the base without adapters.
    Differs: DPM-Solver++ with 25 steps is the default; ``ddim`` with 50 is the paper's. ``identity_from`` other than 0
    and ``motion_until`` other than 1 are not the paper's; the idea is that of CustomCrafter, arXiv 2408.13239. The
    interval of guidance is one of steps, where its paper has one of noise levels.
    """

    prompt: str
    negative: str = ""
    frames: Frames = 16
    fps: Annotated[float, Meta(gt=0.0, le=240.0)] = 8.0
    height_px: Annotated[int, Meta(ge=8, le=4096)] = 256
    width_px: Annotated[int, Meta(ge=8, le=4096)] = 256
    steps: PositiveInt = 25
    guidance: Annotated[float, Meta(ge=0.0, le=100.0)] = 9.0
    guidance_low: Annotated[float, Meta(ge=0.0, le=100.0)] | None = None
    guidance_from: Probability = 0.0
    guidance_until: Probability = 1.0
    sampler: Sampler = "dpm++"
    shift: Annotated[float, Meta(gt=0.0, le=100.0)] | None = None
    accelerator: Digest | None = None
    appearance: Strength = 1.0
    appearance_cond: Strength | None = None
    appearance_uncond: Strength | None = None
    appearance_photo: Digest | None = None
    identity_from: Probability = 0.0
    identity_early: Probability = 0.0
    motion_until: Probability = 1.0
    subject_uncond: Probability | None = None
    motion_uncond: Probability | None = None
    source: sources.Source | None = None
    inversion: sources.Inversion | None = None
    refine: Annotated[int, Meta(ge=0, le=10)] = 0
    structure: sources.Structure | None = None
    reference: sources.Reference | None = None
    precision: Precision = "auto"
    batch: Annotated[int, Meta(ge=1, le=MOST_TOGETHER)] = 1
    memory: Memory = "auto"
    seed: Seed = 0
    threads: Threads = 0

    def __post_init__(self) -> None:
        """Refuse what cannot both hold."""
        if self.source is not None and self.refine:
            raise ValueError("refine samples from noise alone, and a source gives more than that")

    def count_steps(self) -> int:
        """How many sampling steps are run in all rounds; those of an inversion are not among them."""
        first = self.steps if self.source is None else self.source.count_steps(self.steps)
        return first + self.refine * self.steps

    @property
    def guided_steps(self) -> range:
        """The steps, from 0, that may call the network for both halves of guidance."""
        if self.guidance == 1.0 and self.guidance_low in {None, 1.0}:
            return range(0)
        first, last = (
            math.ceil(round(fraction * self.steps, 6))
            for fraction in (self.guidance_from, self.guidance_until)
        )
        return range(first, last)

    @property
    def uncond_shares(self) -> Mapping[str, float | None]:
        """Of the weights of subjects and of motions in the unconditional half of guidance, by kind."""
        return {"subject": self.subject_uncond, "motion": self.motion_uncond}

    @property
    def pixels(self) -> int:
        """Of all frames together."""
        return self.frames * self.height_px * self.width_px

    @property
    def follows_inputs(self) -> bool:
        """Whether it is made from photos or clips, or in rounds: such a video is made by itself."""
        inputs = (self.source, self.inversion, self.structure, self.reference)
        return self.refine > 0 or any(each is not None for each in inputs)

    def count_calls(self) -> int:
        """How many halves of guidance the network is called for in all rounds; see `count_steps`."""
        begun = range(self.steps - self.count_steps() + self.refine * self.steps, self.steps)
        guided = sum(step in self.guided_steps for step in begun)
        return self.count_steps() + guided + self.refine * len(self.guided_steps)


KINDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "a text"}
BOUNDS = {">=": "of at least", "<=": "of at most", ">": "above", "<": "below"}

R = TypeVar("R", bound=Struct)


def build_recipe(recipe_type: type[R], values: Mapping[str, Any]) -> R:
    """A validated recipe of ``values``.

    Raises:
        RecipeError: naming the setting, the value, and the nearest known name or the range.
    """
    known = recipe_type.__struct_fields__
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else "known: " + ", ".join(known)
            raise RecipeError(f"unknown setting {name!r}", hint=hint)
    try:
        recipe = msgspec.convert(dict(values), recipe_type)
    except msgspec.ValidationError as error:
        raise _teach(error, values, recipe_type) from error
    for name, value in values.items():
        if isinstance(value, str):
            check_text(value, name)
    batch, accumulate = (getattr(recipe, name, 1) for name in ("batch", "accumulate"))
    if batch % accumulate:
        raise RecipeError(f"accumulate is {accumulate}; it must divide batch, which is {batch}")
    return recipe


def check_text(text: str, name: str) -> str:
    """``text``, refused where it holds bytes that are not UTF-8 (lone halves of surrogate pairs) or NUL.

    Raises:
        RecipeError: naming the setting.
    """
    if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        shown = text.encode("utf-8", "backslashreplace").decode()
        raise RecipeError(f"{name} is not UTF-8 text: {shown!r}")
    return text


def _teach(
    error: msgspec.ValidationError, values: Mapping[str, Any], recipe_type: type
) -> RecipeError:
    """One line with the setting, its value and what it must be."""
    reason, _, where = str(error).partition(" - at `$.")
    name = where.rstrip("`")
    if name not in values:
        return RecipeError(
            reason.replace("Object missing required field", "the recipe lacks").replace("`", "")
        )
    return RecipeError(f"{name} is {values[name]!r}, not {_wanted(reason, recipe_type, name)}")


def _wanted(reason: str, recipe_type: type, name: str) -> str:
    """``a number of at most 240`` from msgspec's ``Expected `float` <= 240.0``."""
    match = re.match(r"Expected `(\w+)(?: \| null)?`(?: (>=|<=|>|<) ([\d.]+))?", reason)
    if not match or match[1] not in KINDS:
        choices = get_args(get_type_hints(recipe_type)[name])
        if bool in choices:
            return "auto, true or false"
        return f"one of {', '.join(map(str, choices))}" if choices else "what it can be"
    kind = KINDS[match[1]]
    return f"{kind} {BOUNDS[match[2]]} {float(match[3]):.12g}" if match[2] else kind
