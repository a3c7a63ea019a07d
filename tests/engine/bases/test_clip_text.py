"""CLIP's text tower and vocabulary as transformers has them, bit for bit."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.bases.models.clip_text import load_clip_text, load_vocabulary, vocabulary_of
from engine.bases.models.parts import load_part
from engine.errors import BaseInvalidError
from tests.tiny import tiny_text_tower

TEXTS = ("a dog moving left", "Émile's  <|endoftext|> box!! 12", "", "<|startoftext|>a")


@pytest.fixture
def saved(tmp_path):
    theirs = tiny_text_tower().eval()
    theirs.save_pretrained(tmp_path)
    return tmp_path, theirs


def ids_of(tower):
    length = tower.config.max_position_embeddings
    return torch.arange(2 * length).view(2, length) % tower.config.vocab_size


def mask_of(ids):
    return (torch.arange(ids.shape[1]) < torch.tensor([[3], [ids.shape[1]]])).long()


@pytest.mark.parametrize("activation", ["gelu", "quick_gelu"])
@pytest.mark.parametrize("masked", [False, True])
def test_features_and_gradients_are_those_of_transformers(saved, activation, masked):
    from transformers import CLIPTextModel

    folder, _ = saved
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "hidden_act": activation}))
    theirs, ours = CLIPTextModel.from_pretrained(folder), load_clip_text(folder, torch.float32)
    ids = ids_of(theirs)
    mask = mask_of(ids) if masked else None
    found = []
    for tower in (theirs, ours):
        features = tower(ids, attention_mask=mask)[0]
        features.square().sum().backward()
        found.append((features, tower.get_input_embeddings().weight.grad))
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_weights_are_found_under_the_names_of_older_files(saved):
    folder, theirs = saved
    path = folder / "model.safetensors"
    named = {f"text_model.{name}": weight for name, weight in load_file(path).items()}
    save_file({**named, "text_model.embeddings.position_ids": torch.arange(3)}, path)
    ids = ids_of(theirs)
    assert torch.equal(load_clip_text(folder, torch.float32)(ids)[0], theirs(ids)[0])


def test_a_missing_weight_is_named(saved):
    folder, _ = saved
    path = folder / "model.safetensors"
    weights = load_file(path)
    del weights["final_layer_norm.bias"]
    save_file(weights, path)
    with pytest.raises(BaseInvalidError, match=r"1 weights are missing.*final_layer_norm\.bias"):
        load_part(load_clip_text, folder, device=torch.device("cpu"), dtype=torch.float32)


def test_an_activation_of_no_clip_is_named(saved):
    folder, _ = saved
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "hidden_act": "mish"}))
    with pytest.raises(BaseInvalidError, match="hidden_act is 'mish'"):
        load_part(load_clip_text, folder, device=torch.device("cpu"), dtype=torch.float32)


@pytest.mark.parametrize("layout", ["new", "old"])
def test_ids_are_those_of_transformers(tiny_base, tmp_path, layout):
    from transformers import CLIPTokenizer

    folder = shutil.copytree(tiny_base.location.folder / "tokenizer", tmp_path / "tokenizer")
    if layout == "new":
        tokenizer = CLIPTokenizer.from_pretrained(folder)
        shutil.rmtree(folder)
        tokenizer.save_pretrained(folder)
    theirs = vocabulary_of(CLIPTokenizer.from_pretrained(folder))
    ours = load_vocabulary(folder)
    assert [ours.ids(text) for text in TEXTS] == [theirs.ids(text) for text in TEXTS]
    for mark in ("begin", "end", "pad", "unknown", "longest"):
        assert getattr(ours, mark) == getattr(theirs, mark)
