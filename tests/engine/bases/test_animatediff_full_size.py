"""AnimateDiff at its real size, on the meta device: no weights, true shapes."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from engine.adapters.bank import bottleneck_bank
from engine.bases.protocol import Text
from engine.training.footprint import Sizes
from engine.training.memory import estimate_base
from tests.animatediff_full_size import open_hollow

META = torch.device("meta")


@pytest.fixture(scope="module", params=["v3", "v2"])
def version(request):
    return request.param


@pytest.fixture(scope="module")
def base(version):
    return open_hollow(mid_block=version == "v2")


@pytest.fixture(scope="module")
def third():
    return open_hollow(mid_block=False)


def count(parameters):
    return sum(parameter.numel() for parameter in parameters)


def size_of_bank(base, role, width):
    with META:
        bank = bottleneck_bank(base.sites(role), 0.5, width)
    return len(bank.sites), count(bank.parameters())


def test_parameters_of_image_model_and_motion_module(base, version):
    named = dict(base.denoiser.named_parameters())
    motion = count(p for name, p in named.items() if ".motion_modules." in name)
    assert count(named.values()) - motion == 859_520_964
    assert motion == {"v3": 417_137_600, "v2": 453_209_280}[version]


def test_an_identity_adapter_is_as_large_as_modelscopes(base):
    assert size_of_bank(base, "identity", None) == (16, 12_409_120)


@pytest.mark.parametrize(
    ("width", "sizes"),
    [
        (None, {"v3": (60, 56_911_200), "v2": (63, 61_832_160)}),
        (1024, {"v3": (60, 111_031_200), "v2": (63, 119_888_160)}),
    ],
)
def test_a_motion_adapter_has_three_sites_a_module(base, version, width, sizes):
    assert size_of_bank(base, "motion", width) == sizes[version]


@pytest.mark.parametrize(
    ("frames", "side", "tera"),
    [
        (1, 512, 0.80),
        pytest.param(16, 256, 4.1, marks=pytest.mark.slow),
        pytest.param(16, 512, 17.7, marks=pytest.mark.slow),
    ],
)
def test_operations_of_a_forward_pass(third, frames, side, tera):
    latents = torch.empty(third.latent_shape(frames, side, side), device=META)
    times = torch.zeros(1, device=META)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        third.denoise(latents, times, Text(torch.empty(1, 77, 768, device=META)))
    assert counter.get_total_flops() / 1e12 == pytest.approx(tera, rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("role", "sizes", "gibibytes"),
    [
        ("identity", Sizes(1, 1, 512, 512), (0.70, 0.29)),
        ("motion", Sizes(1, 16, 256, 256), (5.2, 2.0)),
        ("motion", Sizes(1, 16, 512, 512), (20.7, 8.0)),
    ],
)
def test_memory_of_an_update_kept_and_recomputed(third, role, sizes, gibibytes):
    """GiB of activations in half precision, half of those in fp32."""
    found = [
        estimate_base(third, role, sizes, image_width=1024, checkpointing=lean).activations
        for lean in (False, True)
    ]
    assert [each / 2**31 for each in found] == pytest.approx(gibibytes, rel=0.1)
