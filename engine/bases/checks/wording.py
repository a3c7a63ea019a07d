"""How long a text is for a base, known before anything heavy is imported."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.bases.catalog import BaseLocation
from engine.bases.folder import read_json
from engine.errors import BaseInvalidError, RecipeError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

BEGIN, END = "<|startoftext|>", "<|endoftext|>"
LONGEST = 77  # where a text tower's config is silent, as transformers has it
# How CLIP cuts a text into words, before each word is cut into pieces.
CLIP_WORDS = (
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
)


def check_prompt(
    location: BaseLocation,
    prompt: str,
    words: Mapping[str, int] = {},  # read only
) -> None:
    """Refuse a prompt that the base cannot read to its end.

    Args:
        location: of the base.
        prompt: as it is sent.
        words: the tokens that each learned word in it, such as ``<corgi>``, takes the place of.

    Raises:
        RecipeError: it has more tokens than the base reads.
    """
    pieces = split_at_words(prompt, words)
    tokens = sum(words.get(piece) or count_tokens(location, piece) for piece in pieces)
    refuse_longer(prompt, tokens, _limit(location))


def refuse_longer(prompt: str, tokens: int, limit: int) -> None:
    """Compare a prompt's ``tokens``, its two end marks left out, with the most that the base reads.

    Raises:
        RecipeError: it has more.
    """
    if tokens > limit:
        raise RecipeError(
            f"the prompt has {tokens} tokens; this base reads {limit}: {prompt!r}",
            hint="shorten the prompt, the motion's caption or its actor",
        )


def check_class_word(location: BaseLocation, word: str) -> None:
    """Refuse a class word that gives a learned word nothing to start from.

    Raises:
        RecipeError: the base makes no token of it.
    """
    if not count_tokens(location, word):
        raise RecipeError(f"the class word {word!r} has no token in this base")


def count_tokens(location: BaseLocation, text: str) -> int:
    """Tokens of ``text``, its end marks left out."""
    tokenizer = _kept_tokenizer(location.folder / "tokenizer", location.fingerprint)
    return len(tokenizer.encode(text, add_special_tokens=False).ids)


def split_at_words(prompt: str, words: Collection[str]) -> list[str]:
    """The prompt cut at the learned words, which stay as pieces of their own."""
    if not words:
        return [prompt]
    longest_first = sorted(words, key=len, reverse=True)
    cut = re.split("(" + "|".join(map(re.escape, longest_first)) + ")", prompt)
    return [piece for piece in cut if piece]


def _limit(location: BaseLocation) -> int:
    """The most tokens of a prompt, its two end marks left out."""
    if location.family.prompt_tokens is not None:
        return location.family.prompt_tokens
    tower = read_json(location.folder / "text_encoder" / "config.json")
    path = location.folder / "tokenizer" / "tokenizer_config.json"
    longest = read_json(path).get("model_max_length") if path.is_file() else None
    of_tower = int(tower.get("max_position_embeddings", LONGEST))
    return (of_tower if longest is None else min(of_tower, int(longest))) - 2


@lru_cache(maxsize=4)
def _kept_tokenizer(folder: Path, fingerprint: str) -> Tokenizer:  # noqa: ARG001 - a key of the cache
    return open_tokenizer(folder)


def open_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer in a folder, whichever of its two layouts was saved.

    Raises:
        BaseInvalidError: it cannot be read.
    """
    from tokenizers import Tokenizer

    try:
        if (folder / "tokenizer.json").is_file():
            tokenizer: Tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
            # Some are saved with the padding and the limit that they were last called with.
            tokenizer.no_padding()
            tokenizer.no_truncation()
            return tokenizer
        return _clip_tokenizer(folder)
    except Exception as error:  # the library raises plain exceptions
        raise BaseInvalidError(f"{folder} cannot be read: {error}") from error


def _clip_tokenizer(folder: Path) -> Tokenizer:
    """CLIP's, from its vocabulary and its merges."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

    vocabulary: dict[str, Any] = json.loads((folder / "vocab.json").read_text("utf-8"))
    lines = (folder / "merges.txt").read_text("utf-8").splitlines()
    merges = [
        (left, right) for left, _, right in (line.partition(" ") for line in lines[1:]) if right
    ]
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, end_of_word_suffix="</w>", unk_token=END))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(CLIP_WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.add_special_tokens([BEGIN, END])
    return tokenizer
