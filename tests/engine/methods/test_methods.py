"""Every method, learned, saved, stopped and used on a tiny base: one contract."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import engine.methods
from engine.adapters.delta import build_delta
from engine.adapters.file import load_adapter
from engine.adapters.uses import AdapterUse
from engine.bases import BaseLocation, locate_base
from engine.diffusion.noise import draw_order
from engine.errors import IncompatibleError, IntegrityError, RecipeError
from engine.generate import open_generator
from engine.learn import learn
from engine.methods import METHODS, Entry, find_method
from engine.methods.protocol import Inputs
from engine.methods.word import WordAlone
from engine.progress import Event, StageAdvanced
from engine.recipe import GenerateRecipe, WordRecipe
from engine.training.saver import SavePolicy
from tests.engine.methods.cases import RECIPES
from tests.engine.samples import clip, photos
from tests.tiny import build_unet3d, open_tiny

VIDEO = GenerateRecipe(
    prompt="a <rex> sweeping", frames=3, height_px=24, width_px=40, steps=2, guidance=3.0
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base whose height and width differ, so that one cannot stand for the other."""
    return build_unet3d(tmp_path_factory.mktemp("wide") / "base", size_px=(24, 40))


@pytest.fixture(scope="module")
def location(folder: Path) -> BaseLocation:
    return locate_base(str(folder))


def inputs_of(kind: str) -> Inputs:
    return Inputs(
        photos=None if kind == "motion" else photos(2, masked=True),
        clips=[] if kind == "subject" else [clip(0), clip(1, frames=3)],
        token="<rex>" if kind == "subject" else "",
    )


def run(key: tuple[str, str], location: BaseLocation, folder: Path, **named):
    method, kind = key
    folder.mkdir(exist_ok=True)
    return learn(
        kind, RECIPES[key], inputs_of(kind), location, folder, method=method, device="cpu", **named
    )


@pytest.fixture(scope="module", params=list(METHODS), ids=" ".join)
def key(request) -> tuple[str, str]:
    return request.param


@pytest.fixture(scope="module")
def learned(key, location, tmp_path_factory):
    return run(key, location, tmp_path_factory.mktemp("whole"), policy=SavePolicy())


def video(location, learned, weight: float) -> np.ndarray:
    with open_generator(
        location, [AdapterUse(learned.weights, learned.kind, weight)], device="cpu"
    ) as generator:
        return generator.sample(VIDEO)


def test_every_method_has_a_recipe_here() -> None:
    assert RECIPES.keys() == METHODS.keys()


def test_the_file_says_by_which_method_it_was_learned(key, learned) -> None:
    facts = load_adapter(learned.weights).facts
    assert (facts.method, facts.kind) == key
    assert learned.adapter["method"] == key[0]
    assert learned.adapter["sites"] == [site.name for site in facts.sites]


def test_a_file_read_back_does_what_was_learned(learned) -> None:
    assert learned.probe(learned.weights) > 1e-4


def test_a_spoiled_tensor_is_seen_by_the_probe(learned, tmp_path: Path) -> None:
    """Of every kind of tensor that reaches the video, those that read the condition among them."""
    tensors, adapter = load_file(learned.weights), load_adapter(learned.weights)
    kinds = {name.rsplit(".", 2)[-2] + "." + name.rsplit(".", 1)[-1]: name for name in tensors}
    with torch.no_grad():
        for name in kinds.values():
            if name == "appearance.features" or (name == "word.vector" and adapter.facts.sites):
                continue
            spoiled = {**tensors, name: tensors[name] + 0.5}
            file = tmp_path / "spoiled.safetensors"
            save_file(spoiled, file, metadata=metadata_of(learned.weights))
            with pytest.raises(IntegrityError):
                learned.probe(file)


def metadata_of(file: Path) -> dict[str, str]:
    from safetensors import safe_open

    with safe_open(file, framework="pt") as stream:
        return stream.metadata()


def test_weight_zero_is_the_base_bit_for_bit(key, location, learned) -> None:
    with open_generator(location, [], device="cpu") as generator:
        plain = generator.sample(msgspec.structs.replace(VIDEO, prompt=prompt_of(key)))
    assert np.array_equal(video(location, learned, 0.0), plain)


def prompt_of(key: tuple[str, str]) -> str:
    return VIDEO.prompt.replace("<rex>", "dog") if METHODS[key].has_word else VIDEO.prompt


def test_a_small_weight_is_near_the_base_and_the_whole_is_not(location, learned) -> None:
    """The dial has no jump at its start, the word's either."""
    plain, some, more = (video(location, learned, w).astype(int) for w in (0.0, 0.003, 1.0))
    assert np.abs(more - plain).max() > 2
    assert np.abs(some - plain).sum() < np.abs(more - plain).sum() / 3


def test_a_stopped_run_goes_on_to_the_same_bytes(key, location, learned, tmp_path: Path) -> None:
    policy = SavePolicy()

    def stop(event: Event) -> None:
        if isinstance(event, StageAdvanced) and event.loss is not None and event.step == 2:
            policy.stop.reason = "test"

    with pytest.raises(Exception, match="is saved"):
        run(key, location, tmp_path, policy=policy, progress=stop)
    again = run(key, location, tmp_path, policy=SavePolicy())
    assert again.weights.read_bytes() == learned.weights.read_bytes()


def test_an_adapter_attached_and_detached_leaves_the_base(learned, folder) -> None:
    base = open_tiny(folder)
    delta = build_delta(load_adapter(learned.weights), base)
    before = {name for name, module in base.denoiser.named_modules() if module._forward_hooks}
    with delta.attached(base):
        hooked = {name for name, module in base.denoiser.named_modules() if module._forward_hooks}
    assert len(hooked) == (0 if delta.bank is None else len(delta.bank.sites))
    after = {name for name, module in base.denoiser.named_modules() if module._forward_hooks}
    assert before == after == set()


def test_lora_draws_photos_and_clips_as_often_as_its_recipe_says() -> None:
    """One round over all items is the whole run: 7 draws of photos and 4 of clips, each photo in turn."""
    recipe = RECIPES["lora", "joint"]
    total = recipe.photo_draws + recipe.clip_draws
    drawn = [draw_order(recipe.seed, place, total) for place in range(total)]
    assert sum(item < recipe.photo_draws for item in drawn) == 7
    assert sorted(drawn) == list(range(total))


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"photo_draws": 0}, "photo_draws is 0"), ({"caption": " "}, "caption is empty")],
)
def test_a_lora_that_lacks_something_is_refused_first(location, tmp_path, changes, message) -> None:
    recipe = msgspec.structs.replace(RECIPES["lora", "joint"], **changes)
    with pytest.raises(RecipeError, match=message):
        learn("joint", recipe, inputs_of("joint"), location, tmp_path, method="lora")


def test_a_lora_of_other_layers_is_refused(location, tiny_base, learned, key) -> None:
    adapter = load_adapter(learned.weights)
    if adapter.facts.storage != "low-rank":
        pytest.skip("has no low-rank layers")
    first = msgspec.structs.replace(adapter.facts.sites[0], width=7)
    facts = msgspec.structs.replace(adapter.facts, sites=(first, *adapter.facts.sites[1:]))
    with pytest.raises(IncompatibleError, match="7 wide"):
        build_delta(replace(adapter, facts=facts), tiny_base)


def test_an_unknown_method_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(RecipeError, match="no method 'magic' learns a subject") as caught:
        find_method("magic", "subject")
    assert caught.value.hint == "one of: dreamvideo, word, lora, dreamix, reference"


class Fake(WordAlone):
    """A method that someone adds: one module, one line of the table."""

    name = "fake"


def test_a_new_method_is_one_module_and_one_line(location, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "fake_method", SimpleNamespace(METHOD=Fake()))
    added = {**METHODS, ("fake", "subject"): Entry("fake_method", "METHOD", WordRecipe)}
    monkeypatch.setattr(engine.methods, "METHODS", added)
    recipe, inputs = RECIPES["word", "subject"], inputs_of("subject")
    learned = learn("subject", recipe, inputs, location, tmp_path, method="fake", device="cpu")
    assert load_adapter(learned.weights).facts.method == "fake"
    assert video(location, learned, 1.0).shape == (3, 24, 40, 3)
