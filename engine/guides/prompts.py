"""Prompts that a base has read, the newest few kept for the next video that has them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import torch

from engine.bases.protocol import Base, LearnedWord, Text

# Of the largest base one takes 16 MB.
MOST_KEPT = 16


class PromptCache:
    """What a base makes of prompts and learned words; each is read once while it is kept."""

    def __init__(self, base: Base) -> None:
        """Nothing is read yet."""
        self._base = base
        self._texts: dict[Hashable, Text] = {}

    def read(self, prompts: Sequence[Sequence[str]], words: Mapping[str, LearnedWord]) -> Text:
        """The prompts of each video, one a half of guidance, as one text: the first half of all, then the second.

        Raises:
            RecipeError: a prompt is longer than the base can read.
        """
        return join_texts([self._read_one(each, words) for each in prompts])

    def _read_one(self, prompts: Sequence[str], words: Mapping[str, LearnedWord]) -> Text:
        if self._base.readers:  # what an adapter's layers make of prompts is read anew
            return self._base.encode_text(prompts, words)
        known = (
            (token, word.class_word, word.vectors.float().cpu().numpy().tobytes())
            for token, word in words.items()
        )
        key = (*prompts, *known)
        text = self._texts.pop(key, None) or self._base.encode_text(prompts, words)
        self._texts[key] = text
        if len(self._texts) > MOST_KEPT:
            del self._texts[next(iter(self._texts))]
        return text


def join_texts(texts: Sequence[Text]) -> Text:
    """Texts of as many halves of guidance each as one: the first half of all, then the second of all."""
    if len(texts) == 1:
        return texts[0]
    halves, count = len(texts[0]), len(texts)
    masks = [text.mask for text in texts if text.mask is not None]
    joined = Text(torch.cat([text.features for text in texts]), torch.cat(masks) if masks else None)
    return joined.rows([video * halves + half for half in range(halves) for video in range(count)])
