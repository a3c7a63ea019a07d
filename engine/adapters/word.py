"""The learned word: one vector that stands for a subject in the token table."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from engine.bases.protocol import LearnedWord


class Word(nn.Module):
    """A pseudo-word with one learnable vector.

    Attributes:
        token: as it is written in a prompt, such as ``<corgi>``.
        class_word: what it is a kind of, such as ``dog``.
        vector: (d,), fp32; it starts as the mean of the class word's vectors.

    Paper: arXiv 2312.04433, section 3.1 (textual inversion, arXiv 2208.01618).
    Differs: a class word of several tokens starts as their mean; the papers only use words of one.
    """

    def __init__(self, token: str, class_word: str, start: Tensor) -> None:
        """Start the word ``token`` from the class word's vectors ``start``, (n, d)."""
        super().__init__()
        self.token, self.class_word = token, class_word
        self.vector = nn.Parameter(start.detach().to(torch.float32).mean(dim=0))

    def as_words(self) -> dict[str, LearnedWord]:
        """The word as `Base.encode_text` takes it."""
        return {self.token: LearnedWord(self.vector, self.class_word)}
