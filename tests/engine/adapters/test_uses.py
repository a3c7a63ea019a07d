"""Which adapters may act together on a base, and which are refused, each with what is wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import torch

from engine.adapters.delta import Delta, Photos, build_delta
from engine.adapters.file import (
    APPEARANCE,
    WORD,
    Adapter,
    AdapterFacts,
    BaseFact,
    load_adapter,
    save_adapter,
)
from engine.adapters.uses import AdapterUse, base_fact, load_adapters
from engine.bases.protocol import Text
from engine.errors import IncompatibleError

FACTS = AdapterFacts(
    kind="subject",
    base=BaseFact("mini@4", "", "ab" * 32, "Apache-2.0", "unet3d/text32/image24"),
    image_tower="cd" * 32,
    token="<rex>",
    phrase="dog",
    width_ratio=0.5,
    condition_width=None,
    sites=(),
    recipe={},
    inputs=(),
)
MOTION = msgspec.structs.replace(FACTS, kind="motion", token="", phrase="skating")
HERE: Any = SimpleNamespace(
    id="mini@4", fingerprint="ab" * 32, family=SimpleNamespace(word_at="input")
)


def use(folder: Path, name: str, facts: AdapterFacts = FACTS, **changes: Any) -> AdapterUse:
    """An adapter on the disk, used as what it is."""
    told = msgspec.structs.replace(facts, **changes)
    file = save_adapter(folder / name, told, {WORD: torch.ones(2)})
    return AdapterUse(file, told.kind, 0.5)


def test_adapters_that_fit_are_read_in_their_order(tmp_path: Path) -> None:
    uses = [
        use(tmp_path, "a"),
        use(tmp_path, "b", token="<tom>", image_tower=""),
        use(tmp_path, "c", MOTION, word_at="output"),
    ]
    found = load_adapters(uses, HERE)
    assert [each for each, _ in found] == uses
    assert [adapter.facts.token for _, adapter in found] == ["<rex>", "<tom>", ""]
    assert load_adapters([], HERE) == []


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"base": BaseFact("other", "", "ef" * 32, "", "")}, r"learned on other \(efefefefefef\)"),
        ({"word_at": "output"}, "tower's output, and this version puts it at its input"),
    ],
)
def test_an_adapter_of_another_base_or_way_of_words_is_refused(
    tmp_path: Path, changes: dict, problem: str
) -> None:
    with pytest.raises(IncompatibleError, match=problem):
        load_adapters([use(tmp_path, "a", **changes)], HERE)


def test_an_adapter_of_another_kind_is_refused(tmp_path: Path) -> None:
    subject = use(tmp_path, "a")
    with pytest.raises(IncompatibleError, match="is a subject, not a motion"):
        load_adapters([AdapterUse(subject.file, "motion")], HERE)


@pytest.mark.parametrize(
    ("second", "problem"),
    [
        ({"token": "<rex>"}, "two subjects share the word <rex>"),
        ({"token": "<tom>", "image_tower": "12" * 32}, "image towers: 121212121212, cdcdcdcdcdcd"),
    ],
)
def test_adapters_that_do_not_go_together_are_refused(
    tmp_path: Path, second: dict, problem: str
) -> None:
    with pytest.raises(IncompatibleError, match=problem):
        load_adapters([use(tmp_path, "a"), use(tmp_path, "b", **second)], HERE)
    subject = use(tmp_path, "c")
    with pytest.raises(IncompatibleError, match="takes part twice"):
        load_adapters([subject, subject], HERE)


def test_what_a_file_remembers_of_a_base() -> None:
    location: Any = SimpleNamespace(
        id="i", revision="r", fingerprint="f", card=SimpleNamespace(licence="l")
    )
    for width, told in ((24, "24"), (None, "0")):
        geometry = SimpleNamespace(text_width=32, image_width=width)
        base: Any = SimpleNamespace(family="wan", geometry=geometry)
        expected = BaseFact("i", "r", "f", "l", f"wan/text32/image{told}")
        assert base_fact(location, base) == expected


def test_a_digest_tells_adapters_apart_that_do_not_do_the_same() -> None:
    """By the facts, and by name, type, shape and numbers of each tensor, in any order."""
    zeros = torch.zeros(2, 3)
    one, *others = [
        Adapter(FACTS, {"a": zeros, "b": torch.ones(1)}),
        Adapter(MOTION, {"a": zeros, "b": torch.ones(1)}),
        Adapter(FACTS, {"c": zeros, "b": torch.ones(1)}),
        Adapter(FACTS, {"a": zeros.int(), "b": torch.ones(1)}),
        Adapter(FACTS, {"a": zeros.T, "b": torch.ones(1)}),
        Adapter(FACTS, {"a": zeros + 1, "b": torch.ones(1)}),
    ]
    assert len({each.digest for each in (one, *others)}) == 6
    assert Adapter(FACTS, {"b": torch.ones(1), "a": zeros.clone()}).digest == one.digest


def test_a_digest_is_that_of_the_file(tmp_path: Path) -> None:
    first, second = (load_adapter(use(tmp_path, name).file) for name in "ab")
    assert first.digest == second.digest == Adapter(FACTS, {WORD: torch.ones(2)}).digest


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        ({}, ((0.0, 0.0), 1.0, False, False)),
        (
            {
                "appearance_uncond": 0.25,
                "appearance_cond": 0.5,
                "uncond": 0.75,
                "image_drop": 0.1,
                "sparse_causal": True,
            },
            ((0.25, 0.5), 0.75, True, True),
        ),
    ],
)
def test_an_adapter_acts_as_it_was_learned_to(recipe: dict, expected: tuple) -> None:
    facts = msgspec.structs.replace(FACTS, storage="word", condition_width=5, recipe=recipe)
    looks = torch.ones(3, 4)
    found = build_delta(
        Adapter(facts, {WORD: torch.ones(2), APPEARANCE: looks}), SimpleNamespace(), weight=0.5
    )
    told = (found.strengths, found.uncond, found.reads_nothing, found.sparse_causal)
    assert told == expected
    assert (found.kind, found.token, found.phrase, found.weight) == ("subject", "<rex>", "dog", 0.5)
    assert (found.condition_width, found.bank, found.photos) == (5, None, None)
    assert torch.equal(found.word, torch.ones(2))
    assert found.appearance is looks


def test_photos_that_an_adapter_brings_along_are_told_as_their_class_word() -> None:
    """Of weight 0 there are none."""
    latents, masks = torch.ones(2, 4, 1, 3, 5), torch.zeros(2, 1, 1, 3, 5)
    text = Text(torch.ones(1, 2, 3))
    prompts: list[list[str]] = []
    base: Any = SimpleNamespace(encode_text=lambda told, words: prompts.append(told) or text)
    delta = Delta("subject", phrase="dog", photos=Photos(latents, masks, "full"), weight=0.5)
    source = delta.source(base)
    assert source is not None
    assert prompts == [["a dog"]]
    assert torch.equal(source.latents, latents)
    assert torch.equal(source.masks, masks)
    assert torch.equal(source.text.features, text.features)
    assert (source.bank, source.blocks, source.weight) == (None, "full", 1.0)
    assert replace(delta, weight=0.0).source(base) is None
    assert replace(delta, photos=None).source(base) is None
    bare = replace(delta, photos=Photos(latents, None, "midup")).source(base)
    assert bare is not None
    assert (bare.masks, bare.blocks) == (None, "midup")
