"""Adapters as they act together: which of them in which step, at what weight, and what look the motions are told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from engine.adapters.bank import Bank, Condition
from engine.adapters.delta import Delta
from engine.adapters.reference import Reference, ReferenceSource
from engine.bases.protocol import Base, LearnedWord
from engine.recipe import GenerateRecipe


@dataclass(slots=True)
class Composition:
    """Subjects and motions on one base."""

    deltas: tuple[Delta, ...]  # what each of them adds
    look: Tensor | None  # the appearance vector (d,) that motions are told, or None
    # photos that the base reads beside those that subjects bring along
    sources: Sequence[ReferenceSource] = ()
    # all photos that the base reads, while this is attached
    reference: Reference | None = field(default=None, init=False)

    @property
    def banks(self) -> list[Bank]:
        """The layers of all that have some."""
        return [delta.bank for delta in self.deltas if delta.bank is not None]

    @contextmanager
    def attached(self, base: Base) -> Iterator[Composition]:
        """Let those that have a weight act in the base's denoiser until the block ends."""
        brought = [delta.source(base) for delta in self.deltas]
        sources = [*self.sources, *(source for source in brought if source is not None)]
        with ExitStack() as stack:
            for delta in self.deltas:
                if delta.weight != 0.0:
                    stack.enter_context(delta.attached(base))
            if sources:
                self.reference = self.reading(base, sources)
                stack.enter_context(self.reference.attached())
            yield self
        self.reference = None

    def reading(
        self, base: Base, sources: Sequence[ReferenceSource], *, seed: int = 0
    ) -> Reference:
        """Photos that the base reads while these adapters act: on photos the motions do not, all others in full."""
        quiet = [delta.bank for delta in self.deltas if delta.kind == "motion" and delta.bank]
        return Reference(base, sources, quiet=quiet, banks=self.banks, seed=seed)

    def set_step(self, recipe: GenerateRecipe, step: int) -> None:
        """Let the adapters act in this step as it is their turn; one kind without the other always acts in full."""
        is_late = step >= recipe.identity_from * recipe.steps
        shares: dict[str, float] = {
            "subject": 1.0 if is_late else recipe.identity_early,
            "motion": float(step < recipe.motion_until * recipe.steps),
        }
        kinds = {delta.kind for delta in self.deltas if delta.weight != 0.0}
        for delta in self.deltas:
            delta.act(shares.get(delta.kind, 1.0) if shares.keys() <= kinds else 1.0)

    @contextmanager
    def motions_alone(self) -> Iterator[None]:
        """While open only motions act, in the denoiser and while prompts are read, and they are told no look."""
        with ExitStack() as stack:
            for delta in self.deltas:
                if delta.kind != "motion":
                    stack.enter_context(delta.muted())
                    continue
                delta.act()
                if delta.bank is not None:
                    delta.bank.condition = delta.bank.shares = None
            yield

    def set_halves(self, recipe: GenerateRecipe, halves: Sequence[int]) -> None:
        """Before a forward pass, tell every adapter how it acts in each sample, and every motion the look.

        Photos are read in conditional samples alone.

        Args:
            recipe: of the video.
            halves: of guidance, one a sample of the batch: 0 is the unconditional one, 1 the conditional one.
        """
        if self.reference is not None:
            self.reference.reads = tuple(half == 1 for half in halves)
            self.reference.seed = recipe.seed
        for delta in self.deltas:
            if delta.bank is None:
                continue
            weight = next(delta.bank.parameters())
            asked = recipe.uncond_shares.get(delta.kind)
            uncond = delta.uncond if asked is None else asked
            shares = [1.0 if half else uncond for half in halves]
            delta.bank.shares = None if uncond == 1.0 else torch.tensor(shares).to(weight)
            if delta.condition_width is None:
                continue
            both = self._strengths(recipe, delta)
            strength = torch.tensor([both[half] for half in halves]).to(weight)
            look = torch.zeros(delta.condition_width) if self.look is None else self.look
            delta.bank.condition = Condition(look.to(strength).expand(len(halves), -1), strength)

    def words(self, base: Base) -> Mapping[str, LearnedWord]:
        """The learned words of all that have a weight, as `Base.encode_text` takes them."""
        words: dict[str, LearnedWord] = {}
        for delta in self.deltas:
            words |= delta.words(base)
        return words

    def plain(self, prompt: str) -> str:
        """The prompt with the class word in place of every word that has no weight."""
        for delta in self.deltas:
            if delta.token and delta.weight == 0.0:
                prompt = prompt.replace(delta.token, delta.phrase)
        return prompt

    def _strengths(self, recipe: GenerateRecipe, delta: Delta) -> tuple[float, float]:
        """Unconditional and conditional: what the motion was learned for, as the caller changes it.

        Without a subject zeros stand for its look, as they did for a dropped image in learning; a motion that was
        learned without drops has never seen them, and gets none.
        """
        if self.look is None and not delta.reads_nothing:
            return 0.0, 0.0
        uncond, cond = recipe.appearance_uncond, recipe.appearance_cond
        return (
            recipe.appearance * (delta.strengths[0] if uncond is None else uncond),
            recipe.appearance * (delta.strengths[1] if cond is None else cond),
        )
