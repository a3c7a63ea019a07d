"""The length of a prompt, counted before the base is loaded, is the one that the base counts."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers import CLIPTokenizer

from engine.bases import BaseLocation, locate_base
from engine.bases.checks.wording import check_class_word, check_prompt, count_tokens
from engine.errors import RecipeError
from tests.tiny import build_tokenizer

texts = st.text(st.characters(codec="utf-8"), max_size=40) | st.lists(
    st.sampled_from(["dog", "cat", " ", "<corgi>", "'s", "É", "\u200b", "7", "..", "<|endoftext|>"])
).map("".join)


@pytest.fixture(scope="module", params=["tokenizer.json", "vocab.json"])
def counted(request, tmp_path_factory, tiny_folder: Path):
    """A base with each layout of a tokenizer, and the tokenizer that the base itself opens."""
    folder = tmp_path_factory.mktemp(request.param)
    for path in tiny_folder.iterdir():
        if path.name != "tokenizer":
            (folder / path.name).symlink_to(path)
    build_tokenizer(folder / "tokenizer", old_layout=request.param == "vocab.json")
    location = locate_base(str(folder))
    return location, CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)


@given(text=texts)
def test_tokens_are_counted_as_the_base_counts_them(counted, text: str) -> None:
    location, tokenizer = counted
    assert count_tokens(location, text) == len(tokenizer(text, add_special_tokens=False).input_ids)


@pytest.fixture
def location(tiny_folder: Path) -> BaseLocation:
    return locate_base(str(tiny_folder))


def test_a_prompt_fills_the_base_to_the_last_token(location: BaseLocation) -> None:
    check_prompt(location, "dog " * 14)
    with pytest.raises(RecipeError, match="15 tokens; this base reads 14"):
        check_prompt(location, "dog " * 15)


def test_padding_that_a_tokenizer_was_saved_with_counts_for_nothing(
    tiny_folder: Path, tmp_path: Path
) -> None:
    for path in tiny_folder.iterdir():
        if path.name != "tokenizer":
            (tmp_path / path.name).symlink_to(path)
    build_tokenizer(tmp_path / "tokenizer")
    file = tmp_path / "tokenizer" / "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.enable_padding(length=99)
    tokenizer.enable_truncation(2)
    tokenizer.save(str(file))
    assert count_tokens(locate_base(str(tmp_path)), "dog dog dog") == 3


def test_a_learned_word_is_one_token(location: BaseLocation) -> None:
    check_prompt(location, "dog " * 13 + "<a-long-name>", {"<a-long-name>": 1})
    with pytest.raises(RecipeError):
        check_prompt(location, "dog " * 13 + "<a-long-name>")


def test_a_class_word_has_a_token(location: BaseLocation) -> None:
    check_class_word(location, "dog")
    with pytest.raises(RecipeError, match="no token"):
        check_class_word(location, " ")
