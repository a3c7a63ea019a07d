"""Captions are true, varied, and any text can be read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import CLIPTokenizer

from engine.mini import WEIGHTS
from engine.mini.world.captions import (
    MAX_TOKENS,
    build_tokenizer,
    list_sentences,
    name_subject,
    tokenize,
)
from engine.mini.world.figures import COLOURS, MARKS
from engine.mini.world.scenes import BACKGROUNDS, MOTIONS
from engine.mini.world.things import TRAINED_THINGS

TOKENIZER = build_tokenizer()


def test_every_caption_word_is_one_token():
    words = {word.strip(",") for line in list_sentences() for word in line.split()}
    assert [word for word in sorted(words) if len(TOKENIZER.tokenize(word)) != 1] == []


def test_unknown_words_become_pieces_that_read_back():
    assert TOKENIZER.decode(TOKENIZER("corgi skate").input_ids, skip_special_tokens=True) == (
        "corgi skate"
    )


@given(st.text(max_size=60))
def test_any_text_becomes_the_models_length(text):
    ids = tokenize(TOKENIZER, [text])
    assert ids.shape == (1, MAX_TOKENS)
    assert int(ids[0, 0]) == TOKENIZER.bos_token_id
    assert TOKENIZER.eos_token_id in ids[0].tolist()


@pytest.mark.skipif(not (WEIGHTS / "tokenizer").is_dir(), reason="no weights ship here")
def test_the_shipped_tokenizer_reads_every_word_of_its_world_as_one():
    shipped = CLIPTokenizer.from_pretrained(WEIGHTS / "tokenizer")
    names = (*TRAINED_THINGS, *COLOURS, *MARKS, *BACKGROUNDS, *MOTIONS)
    words = {word for name in names for word in name.split()}
    assert [word for word in sorted(words) if len(shipped.tokenize(word)) != 1] == []


def test_a_saved_tokenizer_reads_alike(tmp_path):
    TOKENIZER.save_pretrained(tmp_path)
    again = type(TOKENIZER).from_pretrained(tmp_path)
    text = ["a red cat bouncing on a snow background"]
    assert tokenize(again, text).equal(tokenize(TOKENIZER, text))


@pytest.mark.parametrize(
    ("subject", "phrase"), [("orange box", "an orange box"), ("red cat", "a red cat")]
)
def test_a_subject_has_its_article(subject, phrase):
    assert name_subject(subject) == phrase
