"""The real size of ModelScopeT2V, on the meta device: no weights, true shapes."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from engine.adapters.bank import bottleneck_bank
from tests.modelscope import APPEARANCE_WIDTH, open_hollow


@pytest.fixture(scope="module")
def base():
    return open_hollow()


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def bank_of(base, role):
    with torch.device("meta"):
        return bottleneck_bank(
            base.sites(role), 0.5, APPEARANCE_WIDTH if role == "motion" else None
        )


def test_the_denoiser_is_the_one_of_the_paper(base):
    assert count(base.denoiser) == 1_411_233_860


def test_an_identity_adapter_has_16_sites_and_the_papers_parameters(base):
    bank = bank_of(base, "identity")
    assert len(bank.sites) == 16
    assert count(bank) == 12_409_120


def test_a_motion_adapter_has_51_sites_and_the_papers_parameters(base):
    bank = bank_of(base, "motion")
    assert len(bank.sites) == 51
    assert count(bank) == 77_966_496


def test_over_half_of_a_motion_adapter_reads_the_appearance(base):
    conditions = sum(count(bottleneck.cond) for bottleneck in bank_of(base, "motion").bottlenecks)
    assert conditions == 39_950_400


def test_identity_sits_at_spatial_cross_attention_of_every_width(base):
    sites = base.sites("identity")
    assert all(".attentions." in site.name for site in sites)
    assert all(site.name.endswith(".attn2") for site in sites)
    assert Counter(site.width for site in sites) == {320: 5, 640: 5, 1280: 6}


def test_motion_sits_at_all_three_parts_of_every_temporal_transformer(base):
    sites = base.sites("motion")
    assert Counter(site.name.rsplit(".", 1)[1] for site in sites) == {
        "attn1": 17,
        "attn2": 17,
        "ff": 17,
    }


def test_the_first_temporal_transformer_is_among_the_motion_sites(base):
    first = base.sites("motion")[:3]
    assert all(site.name.startswith("transformer_in.") for site in first)
