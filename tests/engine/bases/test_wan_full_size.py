"""Wan at its real sizes, on the meta device: no weights, true shapes."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from engine.adapters.bank import bottleneck_bank
from engine.bases import locate_base, open_base
from engine.bases.protocol import Text
from engine.recipe import motion_recipe, subject_recipe
from engine.training.memory import Sizes, estimate_base
from tests.wan_full_size import DENOISERS, write_configs

META = torch.device("meta")


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """Opens a base of a name without its weights, in fp32 or bf16."""
    folders = {name: write_configs(tmp_path_factory.mktemp(name), name) for name in DENOISERS}
    opened = {}

    def open_once(name, dtype=torch.float32):
        if (name, dtype) not in opened:
            location = locate_base(str(folders[name]))
            opened[name, dtype] = open_base(location, device=META, dtype=dtype)
        return opened[name, dtype]

    return open_once


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def bank_of(base, role, width=None):
    card = base.location.card
    recipe = (subject_recipe if role == "identity" else motion_recipe)(
        "standard", getattr(card, "subject" if role == "identity" else "motion"), {}
    )
    with META:
        return bottleneck_bank(base.sites(role), recipe.width_ratio, width)


@pytest.mark.parametrize(
    ("name", "billions"), [("1.3B", 1.419), ("14B", 14.29), ("5B", 5.00), ("A14B", 2 * 14.29)]
)
def test_denoisers_are_as_large_as_the_published_ones(make, name, billions):
    assert count(make(name).denoiser) / 1e9 == pytest.approx(billions, abs=0.006)


@pytest.mark.parametrize(
    ("name", "identity", "motion", "hidden"),
    [("1.3B", 30, 60, 192), ("5B", 30, 60, 192), ("14B", 40, 80, 256), ("A14B", 80, 80, 256)],
)
def test_sites_and_hidden_widths_by_base(make, name, identity, motion, hidden):
    base = make(name)
    for role, sites in (("identity", identity), ("motion", motion)):
        bank = bank_of(base, role)
        assert len(bank.sites) == sites
        assert {layer.down.out_features for layer in bank.bottlenecks} == {hidden}


def test_parameters_of_adapters_on_the_smallest(make):
    """The look among the hidden units is an eighth of what it would be on the stream."""
    base = make("1.3B")
    motion = bank_of(base, "motion", 1024)
    condition = sum(count(layer.cond) for layer in motion.bottlenecks)
    assert count(bank_of(base, "identity")) == 17_746_560
    assert count(motion) - condition == 35_493_120
    assert condition == 11_808_000


@pytest.mark.parametrize(
    ("frames", "size", "tera"),
    [(1, (480, 832), 15), (33, (320, 576), 86), (33, (480, 832), 273)],
)
def test_operations_of_an_update_of_a_motion_recomputed(make, frames, size, tera):
    """Forward twice, backward through the activations as much again, and half as much again through attention."""
    base = make("1.3B")
    latents = torch.empty(base.latent_shape(frames, *size), device=META)
    text = Text(torch.empty(1, 512, 4096, device=META))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        base.denoise(latents, torch.zeros(1, device=META), text)
    tokens = latents[0, 0].numel() // 4
    attention = 4 * tokens**2 * 1536 * 30
    assert (3 * counter.get_total_flops() + 1.5 * attention) / 1e12 == pytest.approx(tera, rel=0.03)


def test_of_two_experts_both_lie_in_memory_and_one_computes(make):
    need = {
        name: estimate_base(
            make(name),
            "motion",
            Sizes(1, 1, 480, 832),
            image_width=1024,
            checkpointing=True,
            width_ratio=0.05,
        )
        for name in ("14B", "A14B")
    }
    assert need["A14B"].base == 2 * need["14B"].base
    assert need["A14B"].base / 2**32 == pytest.approx(26.6, abs=0.1)
    assert need["A14B"].activations == need["14B"].activations


@pytest.mark.parametrize(
    ("role", "frames", "size", "gibibytes"),
    [
        ("identity", 1, (480, 832), (3.6, 0.3)),
        ("motion", 33, (320, 576), (14.6, 1.2)),
        ("motion", 33, (480, 832), (31.5, 2.6)),
        pytest.param("motion", 81, (480, 832), (73.4, 6.0), marks=pytest.mark.slow),
    ],
)
def test_memory_of_an_update_kept_and_recomputed(make, role, frames, size, gibibytes):
    base = make("1.3B", torch.bfloat16)
    found = [
        estimate_base(
            base,
            role,
            Sizes(1, frames, *size),
            image_width=1024,
            checkpointing=lean,
            width_ratio=0.125,
        )
        for lean in (False, True)
    ]
    assert found[0].base / 2**30 == pytest.approx(2.64, abs=0.05)
    assert [each.activations / 2**30 for each in found] == pytest.approx(gibibytes, rel=0.1)
