"""Banks on modules of any signature: keywords, tuples, mixed precision."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from engine.adapters.bank import (
    Bank,
    Condition,
    fresh_bank,
    full_rank_bank,
    layer_widths,
    linear_sites,
    low_rank_bank,
    reader_sites,
    weight_sites,
)
from engine.bases.protocol import Site

WIDTH, LOOK, BATCH, TOKENS = 16, 6, 3, 5


class Block(nn.Module):
    """Reads its stream by keyword and gives a tuple, as some transformers do."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.attention = Norm(), Attention()

    def forward(self, x: Tensor) -> Tensor:
        out, _ = self.attention(hidden_states=self.norm(scale=None, hidden_states=x))
        return x + out


class Norm(nn.Module):
    def forward(self, *, scale: None, hidden_states: Tensor) -> Tensor:
        assert scale is None
        return hidden_states.float() / 2


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(WIDTH, WIDTH)

    def forward(self, *, hidden_states: Tensor) -> tuple[Tensor, str]:
        return self.linear(hidden_states.to(self.linear.weight.dtype)), "scores"


def awake_bank(seed: int = 0) -> Bank:
    bank = fresh_bank([Site("attention", "norm", "attention", WIDTH)], 0.5, LOOK, seed=seed)
    with torch.no_grad():
        for weight in bank.parameters():
            weight.add_(0.1)
    return bank


def stream(seed: int = 1) -> Tensor:
    return torch.randn(BATCH, TOKENS, WIDTH, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0, 2.0])
def test_what_a_site_gives_is_the_base_and_the_weighted_delta(weight: float) -> None:
    """Of the stream as it enters the read module, added to the first entry of the write module's tuple."""
    block, bank, x = Block(), awake_bank(), stream()
    look = torch.linspace(-1, 1, BATCH * LOOK).reshape(BATCH, LOOK)
    bank.weight, bank.condition = weight, Condition(look, 0.7)
    delta = bank.bottlenecks[0].delta(x, look, 0.7)
    plain = block(x)
    with bank.attached(block):
        found = block(x)
    torch.testing.assert_close(found, plain + weight * delta)
    assert torch.equal(block(x), plain)


def test_each_sample_has_a_share_of_the_weight() -> None:
    """Of streams that hold two rows a sample: none, half and all of it; a share of 0 leaves the base."""
    block, bank = Block(), awake_bank()
    x = torch.cat([stream(1), stream(2)]).unflatten(0, (2, BATCH)).transpose(0, 1).flatten(0, 1)
    bank.weight, shares = 2.0, torch.tensor([0.0, 0.5, 1.0])
    plain, delta = block(x), bank.bottlenecks[0].delta(x)
    bank.shares = shares
    with bank.attached(block):
        found = block(x)
    rows = 2.0 * shares.repeat_interleave(2)[:, None, None]
    torch.testing.assert_close(found, plain + rows * delta)
    assert torch.equal(found[:2], plain[:2])


def test_the_rest_of_a_tuple_is_left_alone() -> None:
    block, bank = Block(), awake_bank()
    with bank.attached(block):
        block.norm(scale=None, hidden_states=stream())
        assert block.attention(hidden_states=stream())[1] == "scores"


@pytest.mark.parametrize("learned", [torch.float32, torch.bfloat16])
def test_a_delta_is_computed_in_the_precision_of_the_module(learned: torch.dtype) -> None:
    """A stream in fp32 beside weights in bf16: fp32 weights that learn do what they do when they are stored in bf16."""
    block, bank = Block().to(torch.bfloat16), awake_bank()
    half = awake_bank().to(torch.bfloat16)
    x = stream()
    look = Condition(torch.ones(BATCH, LOOK))
    bank.condition = half.condition = look
    with half.attached(block):
        expected = block(x)
    with bank.to(learned).attached(block):
        assert torch.equal(block(x), expected)


def test_fp32_weights_get_fp32_gradients_from_a_half_precision_base() -> None:
    block, bank = Block().to(torch.bfloat16), awake_bank()
    bank.condition = Condition(torch.ones(BATCH, LOOK))
    with bank.attached(block):
        block(stream()).float().square().mean().backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in bank.parameters())
    assert all(bool(p.grad.any()) for p in bank.parameters())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_site_is_no_break_in_a_compiled_graph() -> None:
    """``fullgraph`` refuses anything that the compiler cannot follow."""
    block, bank, x = Block(), awake_bank(), stream()
    bank.weight, bank.condition = 0.5, Condition(torch.ones(BATCH, LOOK))
    with bank.attached(block), torch.no_grad():
        expected = block(x)
        torch._dynamo.reset()
        assert torch.equal(torch.compile(block, backend="eager", fullgraph=True)(x), expected)


@pytest.mark.filterwarnings("ignore")
def test_low_rank_layers_are_those_of_peft(tiny_base) -> None:
    """Equal weights give equal predictions; peft's scale α/r is part of our second matrix."""
    peft = pytest.importorskip("peft")
    sites = linear_sites(tiny_base, "motion", ("to_q", "to_out.0"))
    bank = low_rank_bank(tiny_base.denoiser, sites, rank=3, seed=1)
    theirs = copy.deepcopy(tiny_base.denoiser)
    config = peft.LoraConfig(r=3, lora_alpha=6, target_modules=[site.name for site in sites])
    peft.inject_adapter_in_model(config, theirs)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for site, layer in zip(bank.sites, bank.bottlenecks, strict=True):
            layer.up.weight.normal_(generator=generator)
            other = theirs.get_submodule(site.name)
            other.lora_A["default"].weight.copy_(layer.down.weight)
            other.lora_B["default"].weight.copy_(layer.up.weight / 2)
        x = torch.randn(1, *tiny_base.latent_shape(2, 32, 32)[1:], generator=generator)
        text = tiny_base.encode_text(["a dog"], {})
        expected = theirs(x, torch.tensor([300]), text.features, return_dict=False)[0]
        with bank.attached(tiny_base.denoiser):
            found = tiny_base.denoise(x, torch.tensor([300]), text)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


class Network(nn.Module):
    """Layers that take a low rank, and others."""

    def __init__(self) -> None:
        super().__init__()
        self.line, self.pixels = nn.Linear(4, 6), nn.Conv2d(3, 5, 1)
        self.area, self.groups = nn.Conv2d(3, 5, 3, padding=1), nn.Conv2d(4, 6, 1, groups=2)
        self.norm = nn.LayerNorm(4)


def same(names: list[str]) -> list[Site]:
    return [Site(name, name, name, 0) for name in names]


def test_what_takes_a_low_rank_and_along_which_axis() -> None:
    """Linear layers along the last one, convolutions of single pixels along their channels."""
    widths = {name: layer_widths(layer) for name, layer in Network().named_children()}
    assert widths == {
        "line": (4, 6, -1),
        "pixels": (3, 5, 1),
        **dict.fromkeys(("area", "groups", "norm")),
    }
    assert layer_widths(None) is None


@pytest.mark.parametrize("rank", [2, [1, 3]])
def test_a_low_rank_layer_is_a_change_of_the_weight(rank: int | list[int]) -> None:
    """``W + up·down``; a rank for all or for each, and the same draws from the same seed."""
    network = Network()
    sites = same(["line", "pixels"])
    bank, again, other = (low_rank_bank(network, sites, rank, seed=seed) for seed in (1, 1, 2))
    ranks = [rank] * 2 if isinstance(rank, int) else rank
    assert [layer.down.weight.shape[0] for layer in bank.bottlenecks] == ranks
    downs = [[layer.down.weight for layer in each.bottlenecks] for each in (bank, again, other)]
    assert all(map(torch.equal, downs[0], downs[1]))
    assert not any(map(torch.equal, downs[0], downs[2]))
    x = {"line": torch.randn(2, 7, 4), "pixels": torch.randn(2, 3, 4, 5)}
    for site, layer in zip(sites, bank.bottlenecks, strict=True):
        assert not layer.delta(x[site.name]).any()
        nn.init.normal_(layer.up.weight)
        plain = network.get_submodule(site.name)
        before = plain(x[site.name])
        change = layer.up.weight @ layer.down.weight
        with torch.no_grad():
            plain.weight += change.reshape(plain.weight.shape)
        after = plain(x[site.name])
        torch.testing.assert_close(layer.delta(x[site.name]), after - before, atol=1e-5, rtol=1e-4)


def test_a_whole_change_is_kept_in_half_precision() -> None:
    network = Network()
    base = SimpleNamespace(denoiser=network, is_temporal=lambda path: path == "pixels")
    assert [site.name for site in weight_sites(base)] == ["line", "pixels", "area", "groups"]
    spatial = weight_sites(base, temporal=False)
    assert [(site.write, site.width) for site in spatial] == [
        ("line", 4),
        ("area", 3),
        ("groups", 2),
    ]
    bank = full_rank_bank(base, spatial)
    tensors = bank.tensors()
    assert {name: tuple(t.shape) for name, t in tensors.items()} == {
        "line.weight": (6, 4),
        "area.weight": (5, 3, 3, 3),
        "groups.weight": (6, 2, 1, 1),
    }
    assert {t.dtype for t in tensors.values()} == {torch.float16}
    assert bank.weight == 1.0
    given = {name: torch.full_like(t, 0.25).float() for name, t in tensors.items()}
    bank.load_tensors(given)
    assert all(torch.equal(t.float(), given[name]) for name, t in bank.tensors().items())


@pytest.mark.parametrize(("ratio", "hidden"), [(0.5, 3), (0.25, 2), (0.01, 1), (2.0, 12)])
def test_a_bottleneck_is_as_wide_as_its_share_of_the_stream(ratio: float, hidden: int) -> None:
    (layer,) = fresh_bank([Site("a", "a", "a", 6)], ratio, LOOK, seed=0).bottlenecks
    assert layer.down.weight.shape == (hidden, 6)
    assert layer.up.weight.shape == (6, hidden)
    assert layer.cond.weight.shape == (6, LOOK)
    assert fresh_bank([Site("a", "a", "a", 6)], ratio, seed=0).bottlenecks[0].cond is None


def test_a_text_tower_s_layers_are_called_alike_in_every_version_of_its_library() -> None:
    tower = nn.ModuleDict(
        {"text_model": nn.ModuleDict({"fc": nn.Linear(4, 6)}), "out": nn.Linear(3, 2)}
    )
    found = reader_sites(SimpleNamespace(text_tower=tower))
    assert [(site.name, site.write, site.width) for site in found] == [
        ("text_encoder.fc", "text_model.fc", 4),
        ("text_encoder.out", "out", 3),
    ]
    assert reader_sites(SimpleNamespace(text_tower=None)) == ()
