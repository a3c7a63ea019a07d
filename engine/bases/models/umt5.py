"""UMT5, the text tower of Wan: large, read once a prompt, and given back.

Letters: b prompts, l text length, n tokens, d width of the features.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from engine.bases.catalog import BaseLocation
from engine.bases.checks.wording import refuse_longer, split_at_words
from engine.bases.models.parts import has_room, load_part
from engine.bases.protocol import LearnedWord
from engine.cache import Cache
from engine.errors import BaseInvalidError, RecipeError
from engine.progress import ignore
from engine.transfer import upload

LENGTH = 512
# Beside its weights the tower needs little: prompts are short and are read one at a time.
ROOM = 1.1


class PromptReader:
    """Encodes prompts, each once: what was read is kept in memory and on disk, and the tower is loaded for the rest.

    A learned word is an offset: its class word stands in its place, and ``rms·δ`` is added to the features of the
    class word's tokens, rms being their root mean square. δ = 0 reads like the class word, bit for bit.
    """

    def __init__(
        self, location: BaseLocation, device: torch.device, dtype: torch.dtype, given: Any = None
    ) -> None:
        """Load nothing yet; a tower that is ``given`` is used as it is and never given back.

        In fp16 the tower would overflow, so it computes in bf16 there.
        """
        self._location, self._device = location, device
        own = torch.bfloat16 if dtype == torch.float16 else dtype
        self._dtype = own if given is None else given.dtype
        self._known: dict[str, Tensor] = {}
        self._given, self._tower = given, cast("Any", None)

    def encode(self, prompts: Sequence[str], words: Mapping[str, LearnedWord]) -> Tensor:
        """Features (b, 512, d), zeros beyond each prompt's tokens; gradients flow into the words.

        Raises:
            RecipeError: a prompt is longer than the tower reads.
        """
        try:
            rows = [self._encode_one(prompt, words) for prompt in prompts]
        finally:
            self.release()
        return torch.stack(rows)

    def count(self, text: str) -> int:
        """Tokens of ``text``, its end mark left out."""
        return len(self._tokenizer(text, add_special_tokens=False).input_ids)

    def release(self) -> None:
        """Give the tower's memory back; what it has read stays."""
        if self._tower is not None:
            self._tower = None
            if self._device.type == "cuda":
                torch.cuda.empty_cache()

    def _encode_one(self, prompt: str, words: Mapping[str, LearnedWord]) -> Tensor:
        """(512, d)."""
        said, spans = say_class_words(clean(prompt), words)
        read = self._tokenizer(said, return_offsets_mapping=True)
        refuse_longer(prompt, len(read.input_ids) - 1, LENGTH - 1)
        if said not in self._known:
            self._known[said] = self._read_or_recall(said, read.input_ids).to(self._device)
        features = self._known[said]
        for token, start, end in spans:
            within = _tokens_within(read.offset_mapping, start, end)
            places = upload(torch.tensor(within), self._device)
            own = features[places]
            size = own.detach().float().square().mean().sqrt()
            offset = torch.atleast_2d(words[token].vectors).mean(dim=0).to(self._device)
            features = features.index_put((places,), own + (size * offset).to(own.dtype))
        rest = features.new_zeros(LENGTH - len(features), features.shape[1])
        return torch.cat([features, rest])

    def _read_or_recall(self, said: str, ids: Sequence[int]) -> Tensor:
        """(n, d) of one cleaned prompt, from disk where it was read before by the same tower."""
        where = self._find_device()
        cache = Cache(
            self._location.cache and self._location.cache / "prompts",
            ignore,
            owner=f"{self._location.fingerprint}/{self._dtype}",
            device=where,
        )
        key = np.frombuffer(said.encode() or b"\0", np.uint8)
        features = cache.get("prompt", key, lambda: self._read(ids, where))
        cache.prune()
        return features

    @torch.no_grad()
    def _read(self, ids: Sequence[int], where: torch.device) -> Tensor:
        """Without padding: the same features at a fraction of the work."""
        if self._given is None and self._tower is None:
            self._tower = self._load(where)
        tower = self._tower if self._given is None else self._given
        features: Tensor = tower(torch.tensor([ids], device=where)).last_hidden_state[0]
        return features

    def _find_device(self) -> torch.device:
        """The base's device, or the CPU where a GPU has no room for the tower."""
        folders = [self._location.folder / "text_encoder"]
        is_there = self._given is not None or has_room(folders, self._dtype, self._device, ROOM)
        return self._device if is_there else torch.device("cpu")

    def _load(self, where: torch.device) -> Any:
        folder = self._location.folder / "text_encoder"
        tower = load_part("transformers.UMT5EncoderModel", folder, device=where, dtype=self._dtype)
        # One table under two names: a library that fills only one of them would read every prompt as noise.
        shared, own = tower.shared.weight, tower.encoder.embed_tokens.weight
        if shared is not own and not torch.equal(shared, own):
            raise BaseInvalidError(
                f"{folder}: the encoder's token table is not the shared one",
                hint="another version of transformers, or weights saved by one that ties them",
            )
        return tower

    @cached_property
    def _tokenizer(self) -> Any:
        folder = self._location.folder / "tokenizer"
        return load_part("transformers.AutoTokenizer", folder, device=self._device)


def clean(prompt: str) -> str:
    """The prompt as Wan was trained to read it: HTML's escapes undone, white space collapsed."""
    return re.sub(r"\s+", " ", html.unescape(html.unescape(prompt))).strip()


def say_class_words(
    prompt: str, words: Mapping[str, LearnedWord]
) -> tuple[str, list[tuple[str, int, int]]]:
    """The prompt with class words for learned ones, and token, start and end of each by character.

    Raises:
        RecipeError: a class word is empty.
    """
    said, spans = "", []
    for piece in split_at_words(prompt, tuple(words)):
        if piece not in words:
            said += piece
            continue
        class_word = clean(words[piece].class_word)
        if not class_word:
            raise RecipeError(f"the class word of {piece} is empty")
        spans.append((piece, len(said), len(said) + len(class_word)))
        said += class_word
    return said, spans


def _tokens_within(offsets: Sequence[tuple[int, int]], start: int, end: int) -> list[int]:
    """The tokens whose characters lie in a span; end marks have none."""
    return [k for k, (left, right) in enumerate(offsets) if left < end and right > start]
