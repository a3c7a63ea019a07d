"""The learned word: one vector that stands for a subject in the token table."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from engine.bases.protocol import LearnedWord
from engine.diffusion.noise import keyed_generator


class Word(nn.Module):
    """A pseudo-word with one learnable vector or several, which stand side by side in a prompt.

    Attributes:
        token: as it is written in a prompt, such as ``<corgi>``.
        class_word: what it is a kind of, such as ``dog``.
        vector: (d,), fp32; it starts as the mean of the class word's vectors. Several are (v, d): they start as the
            class word's, drawn out or together to v of them, each stirred a little, for equals would stay alike.

    Paper: arXiv 2312.04433, section 3.1 (textual inversion, arXiv 2208.01618).
    Differs: a class word of several tokens starts as their mean; the papers only use words of one.
    """

    def __init__(
        self, token: str, class_word: str, start: Tensor, *, vectors: int = 1, seed: int = 0
    ) -> None:
        """Start the word ``token`` from the class word's vectors ``start``, (n, d)."""
        super().__init__()
        self.token, self.class_word = token, class_word
        rows = start.detach().to(torch.float32)
        first = rows.mean(dim=0) if vectors == 1 else _spread(rows, vectors, seed)
        self.vector = nn.Parameter(first)

    @torch.no_grad()
    def pull_norm(self, norm: float, share: float) -> None:
        """``v ← v/|v| · (|v| + share·(norm - |v|))`` of each vector."""
        own = self.vector.norm(dim=-1, keepdim=True)
        self.vector.mul_(1 + share * (norm / own - 1))

    def as_words(self) -> dict[str, LearnedWord]:
        """The word as `Base.encode_text` takes it."""
        return {self.token: LearnedWord(self.vector, self.class_word)}


def _spread(rows: Tensor, count: int, seed: int) -> Tensor:
    """(n, d) drawn out to (count, d), with noise of a hundredth of their spread."""
    drawn = interpolate(rows.T[None], size=count, mode="linear", align_corners=True)[0].T
    noise = torch.randn(drawn.shape, generator=keyed_generator(seed, 0, 0, "word"))
    return drawn + 0.01 * rows.std() * noise.to(drawn)
