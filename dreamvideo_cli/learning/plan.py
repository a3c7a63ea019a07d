"""What `learn` will do, decided and checked to the end."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from dreamvideo_cli.learning.inputs import Inputs
from dreamvideo_cli.runs.folders.settings import LearnSettings
from dreamvideo_cli.runs.timings import Task
from dreamvideo_cli.terminal.space import require_free
from engine.bases.checks.weights import count_numbers
from engine.bases.folder import weight_files
from engine.methods import find_entry
from engine.metrics.definitions import score_interval
from engine.recipe import GenerateRecipe, build_recipe

if TYPE_CHECKING:
    from engine.bases import BaseLocation
    from engine.bases.checks.fitness import FitnessWarning
    from engine.recipe import LearnRecipe
    from registry import Kind

# A motion adapter of the paper's sizes takes up to a twentieth of its base; beside its file there are two saves with
# three times its numbers each, and a few states.
SPACE_SHARE, SPACE_SHARE_OF_SCORED = 0.6, 0.25
# Of weights that are changed: two saves with three fp32 numbers each, beside states of half of one, for a base that
# may itself be kept in half precision.
SPACE_SHARE_OF_WEIGHTS = 16.0
SPACE_BYTES = 32 << 20


@dataclass(frozen=True, slots=True)
class LearnPlan:
    """What is to be learned, from what, and how."""

    kind: Kind  # subject or motion
    name: str  # under which it is published
    base: BaseLocation  # on which it is learned
    recipe: LearnRecipe  # how; "auto" in it is settled when the device is known
    inputs: Inputs  # photos or clips, as they were read
    settings: LearnSettings = field(default_factory=LearnSettings)  # the rest
    class_asked: str = ""  # the class word as the user said it, or "" where it is the recipe's
    # what was said already of its photos, before their masks were found
    warned: tuple[FitnessWarning, ...] = ()

    @property
    def token(self) -> str | None:
        """A subject's learned word, of a method that learns one."""
        has_word = find_entry(self.settings.method, self.kind).has_word
        return f"<{self.name}>" if has_word else None

    @property
    def phrase(self) -> str:
        """As what it stands in prompts: a subject's word or its class word, a motion's caption."""
        said = "class_word" if self.kind == "subject" else "caption"
        return self.token or str(getattr(self.recipe, said))

    @property
    def is_scored(self) -> bool:
        """Whether videos are scored during learning."""
        return self.settings.scored_by is not None

    @property
    def stages(self) -> dict[Task, int]:
        """Steps of each stage, in their order."""
        return self.recipe.stages

    @property
    def step_megapixels(self) -> float:
        """Megapixels of an update, to which the time that it takes is in proportion."""
        video = self.base.card.video
        frames = getattr(self.recipe, "frames" if self.kind == "motion" else "photo_frames", 1)
        return self.recipe.batch * frames * video.height_px * video.width_px / 1e6

    @property
    def score_every(self) -> int:
        """Steps between scores."""
        return self.settings.save_every or score_interval(list(self.stages.values())[-1])

    def key(self, registry_root: Path) -> str:
        """64 hex digits, equal where the same is learned from the same, in the same way, for the same registry."""
        held_out, patience = self.inputs.held_out_digests, self.settings.patience
        method = self.settings.method
        decided = {
            "kind": self.kind,
            "name": self.name,
            "registry": str(registry_root),
            "base": [self.base.fingerprint, self.base.tower_fingerprint],
            "recipe": msgspec.to_builtins(self.recipe),
            "inputs": [item["digest"] for item in self.inputs.digests],
            **({"held_out": held_out[0]["digest"]} if held_out else {}),
            **({"patience": patience} if patience else {}),
            **({"method": method} if method != "dreamvideo" else {}),
        }
        return hashlib.sha256(json.dumps(decided, sort_keys=True).encode()).hexdigest()


def preview_recipe(plan: LearnPlan) -> GenerateRecipe:
    """Recipe of the previews: as `dv gen` would make them with the card's settings, the plainest prompt and seed 0."""
    prompt = plan.phrase if plan.kind == "motion" else f"a {plan.phrase}"
    values = {**plan.base.card.generate_defaults, "prompt": prompt, "seed": 0}
    return build_recipe(GenerateRecipe, values)


def space_needed(base: BaseLocation, *, is_scored: bool = False, weights_share: float = 0.0) -> int:
    """Bytes that a run may take on the disk at most; one that is scored keeps twice as many states.

    Of a method that changes weights each save and state has numbers in proportion to its ``weights_share``.
    """
    rank = SPACE_SHARE + (SPACE_SHARE_OF_SCORED if is_scored else 0.0)
    return SPACE_BYTES + int(base.size_bytes * max(rank, SPACE_SHARE_OF_WEIGHTS * weights_share))


def memory_needed(plan: LearnPlan, *, is_least: bool = False) -> int | None:
    """Bytes on the device while it is learned; None of a base whose weights are not here.

    ``is_least``: with everything done that is done once memory runs out: blocks computed again, one sample at a time.
    """
    if not any(map(count_numbers, weight_files(plan.base.folder / plan.base.family.part))):
        return None
    from engine.training.estimate import estimate_recipe

    recipes = [plan.recipe]
    if is_least:  # of small blocks what is computed again takes more than it saves
        lean = {"checkpointing": True, "accumulate": plan.recipe.batch}
        recipes.append(msgspec.structs.replace(plan.recipe, **lean))
    return min(estimate_recipe(plan.base, each, plan.settings.device).total for each in recipes)


def check_space(
    folders: Sequence[Path],
    base: BaseLocation,
    *,
    is_scored: bool = False,
    weights_share: float = 0.0,
) -> None:
    """Fail now where the disk would be full after the wait.

    Raises:
        OutputError: naming the folder, what is free and what is needed.
    """
    needed = space_needed(base, is_scored=is_scored, weights_share=weights_share)
    for folder in folders:
        hint = "free some space, or put --registry and DV_STATE on another disk"
        require_free(folder, needed, what="learning", hint=hint)
