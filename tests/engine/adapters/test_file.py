"""The adapter's file: what goes in comes out, equal runs give equal bytes, and nothing else is read."""

from __future__ import annotations

import json

import msgspec
import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.adapters.bank import bottleneck_bank, fresh_bank
from engine.adapters.delta import build_bank
from engine.adapters.file import (
    METADATA_KEY,
    WORD,
    AdapterFacts,
    BaseFact,
    InputFact,
    SiteFact,
    load_adapter,
    save_adapter,
)
from engine.errors import IncompatibleError, IntegrityError, OutputError


@pytest.fixture
def bank(tiny_base):
    """An identity bank whose every weight is random."""
    bank = fresh_bank(tiny_base.sites("identity"), 0.5, seed=0)
    for parameter in bank.parameters():
        torch.nn.init.normal_(parameter)
    return bank


@pytest.fixture
def facts(tiny_base, bank):
    return AdapterFacts(
        kind="subject",
        base=BaseFact("./tiny", "", tiny_base.fingerprint, "Apache-2.0", "unet3d/text32/image24"),
        image_tower="",
        token="<rex>",
        phrase="dog",
        width_ratio=0.5,
        condition_width=None,
        sites=tuple(SiteFact(site.name, site.width) for site in bank.sites),
        recipe={"seed": 1, "class_word": "dog"},
        inputs=(InputFact("a.jpg", "0" * 64),),
    )


@pytest.fixture
def tensors(bank):
    return {**bank.tensors(), WORD: torch.arange(32.0)}


@pytest.fixture
def file(tmp_path, facts, tensors):
    return save_adapter(tmp_path / "adapter.safetensors", facts, tensors)


def spoil(file, change_facts=None, change_tensors=None):
    """Write the file again with other facts or tensors, as a hand or another tool might."""
    adapter = load_adapter(file)
    plain, tensors = msgspec.to_builtins(adapter.facts), dict(adapter.tensors)
    for change, value in ((change_facts, plain), (change_tensors, tensors)):
        if change:
            change(value)
    save_file(tensors, file, metadata={METADATA_KEY: json.dumps(plain)})


def test_facts_and_tensors_come_back_as_they_were(file, facts, tensors):
    adapter = load_adapter(file)
    assert adapter.facts == facts
    assert adapter.tensors.keys() == tensors.keys()
    assert all(torch.equal(adapter.tensors[name], tensors[name]) for name in tensors)


def test_a_bank_comes_back_with_its_weights(file, tiny_base, bank):
    again = build_bank(load_adapter(file), tiny_base)
    pairs = zip(again.parameters(), bank.parameters(), strict=True)
    assert all(torch.equal(read, written) for read, written in pairs)


def test_equal_facts_and_tensors_give_equal_bytes(tmp_path, file, facts, tensors):
    backwards = dict(reversed(tensors.items()))
    again = save_adapter(tmp_path / "again.safetensors", facts, backwards)
    assert again.read_bytes() == file.read_bytes()


def test_any_tool_can_read_what_the_file_is(file):
    from safetensors import safe_open

    with safe_open(file, framework="pt") as stream:
        said = json.loads(stream.metadata()[METADATA_KEY])
    assert said["token"] == "<rex>"
    assert said["base"]["licence"] == "Apache-2.0"


def test_half_precision_weights_become_full(file, tiny_base):
    spoil(file, change_tensors=lambda tensors: tensors.update(halved(tensors)))
    bank = build_bank(load_adapter(file), tiny_base)
    assert {parameter.dtype for parameter in bank.parameters()} == {torch.float32}


def halved(tensors):
    return {name: tensor.half() for name, tensor in tensors.items()}


def test_nothing_half_written_stays_when_the_folder_is_missing(tmp_path, facts, tensors):
    with pytest.raises(OutputError):
        save_adapter(tmp_path / "nowhere" / "adapter.safetensors", facts, tensors)
    assert not list(tmp_path.iterdir())


def test_nothing_but_the_file_stays_after_saving(file):
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize("keep", [0, 5, 400, -1])
def test_a_truncated_file_is_refused(file, keep):
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(IntegrityError, match=r"adapter\.safetensors"):
        load_adapter(file)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(IntegrityError):
        load_adapter(tmp_path / "nowhere.safetensors")


def test_weights_of_another_tool_are_refused(tmp_path):
    save_file({"a": torch.ones(1)}, tmp_path / "lora.safetensors", metadata={"format": "pt"})
    with pytest.raises(IntegrityError, match="not an adapter of this tool"):
        load_adapter(tmp_path / "lora.safetensors")


def test_metadata_that_is_no_json_is_refused(file):
    save_file(load_file(file), file, metadata={METADATA_KEY: "{"})
    with pytest.raises(IntegrityError, match="damaged"):
        load_adapter(file)


def test_an_unknown_fact_is_refused(file):
    spoil(file, change_facts=lambda facts: facts.update(surprise=1))
    with pytest.raises(IntegrityError, match="surprise"):
        load_adapter(file)


def test_a_newer_schema_is_incompatible_not_damaged(file):
    spoil(file, change_facts=lambda facts: facts.update(schema="dv.adapter/2", surprise=1))
    with pytest.raises(IncompatibleError, match=r"dv\.adapter/2"):
        load_adapter(file)


def test_other_sites_than_the_bases_are_refused_with_both_counts(file, tiny_base):
    spoil(file, change_facts=lambda facts: facts.update(sites=facts["sites"][1:]))
    ours = len(tiny_base.sites("identity"))
    with pytest.raises(IncompatibleError, match=f"{ours - 1} sites.* {ours}"):
        build_bank(load_adapter(file), tiny_base)


def test_a_missing_tensor_is_named(file, tiny_base):
    name = f"{tiny_base.sites('identity')[0].name}.up.bias"
    spoil(file, change_tensors=lambda tensors: tensors.pop(name))
    with pytest.raises(IncompatibleError, match=f"lacks tensor {name}"):
        build_bank(load_adapter(file), tiny_base)


def test_an_unknown_tensor_is_named(file, tiny_base):
    spoil(file, change_tensors=lambda tensors: tensors.update(stray=torch.ones(1)))
    with pytest.raises(IncompatibleError, match="stray"):
        build_bank(load_adapter(file), tiny_base)


def test_a_tensor_of_another_shape_is_named_with_both_shapes(file, tiny_base):
    name = f"{tiny_base.sites('identity')[0].name}.up.bias"
    spoil(file, change_tensors=lambda tensors: tensors.update({name: torch.ones(3)}))
    with pytest.raises(IncompatibleError, match=r"\(3,\)"):
        build_bank(load_adapter(file), tiny_base)


def test_a_banks_start_depends_on_its_seed_alone(tiny_base):
    sites = tiny_base.sites("motion")
    torch.rand(7)
    first, again, other = (fresh_bank(sites, 0.5, 24, seed=seed).tensors() for seed in (3, 3, 4))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_drawing_a_bank_leaves_torchs_own_generator_alone(tiny_base):
    before = torch.random.get_rng_state()
    fresh_bank(tiny_base.sites("identity"), 0.5, seed=1)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize(("ratio", "hidden"), [(0.5, [8]), (2.0, [32]), (0.01, [1])])
def test_the_hidden_width_is_the_ratio_of_the_stream_and_at_least_one(tiny_base, ratio, hidden):
    bank = bottleneck_bank(tiny_base.sites("identity")[:1], ratio)
    assert [bottleneck.down.out_features for bottleneck in bank.bottlenecks] == hidden
