"""DreamVideo's own files: by a table of VGen's names, against the paper's equations, and counted at full size."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from engine.adapters.bank import Condition, bottleneck_bank
from engine.errors import IncompatibleError
from engine.formats import vgen
from engine.formats.opening import Opened
from tests.engine.formats import files
from tests.engine.formats.conftest import Convert, on, predict
from tests.modelscope import open_hollow


def vgen_file(tensors: dict[str, torch.Tensor], path: Path) -> Path:
    """As VGen saves an adapter: parameters and a count of steps."""
    state = {name: torch.nn.Parameter(tensor) for name, tensor in tensors.items()}
    torch.save({"state_dict": state, "step": 1000}, path)
    return path


@pytest.mark.parametrize("role", ["identity", "motion"])
def test_every_tensor_comes_to_its_site(
    role: str, targets, converted: Convert, tmp_path: Path
) -> None:
    tensors = files.bottlenecks(targets["unet3d"], role)
    (adapter,) = converted(vgen_file(tensors, tmp_path / "adapter.pth"), "unet3d")
    places = files.VGEN_SPATIAL if role == "identity" else files.VGEN_TEMPORAL
    for key, tensor in tensors.items():
        place, _, rest = key.partition(".transformer_blocks.0.")
        part, matrix, ending = rest.split(".")
        own = {"down_linear": "down", "up_linear": "up", "condition_linear": "cond"}[matrix]
        site = f"{places[place]}.transformer_blocks.0.{files.VGEN_PARTS[part]}"
        assert torch.equal(adapter.tensors[f"{site}.{own}.{ending}"], tensor)
    assert len(adapter.tensors) == len(tensors)
    facts = adapter.facts
    assert facts.kind == ("subject" if role == "identity" else "motion")
    assert (facts.method, facts.storage, facts.width_ratio) == ("dreamvideo", "bottlenecks", 0.5)


class Literal(nn.Module):
    """A part of a block with VGen's bottleneck beside it: ``part(norm(x)) + up(GELU(down(x + λ·cond(c))))``.

    Paper: arXiv 2312.04433, equations 2 and 4; the stream ``x`` is what enters the norm before the part.
    """

    def __init__(self, part: nn.Module, norm: nn.Module, tensors: dict, start: str) -> None:
        super().__init__()
        self.part = part
        self.own = {
            name.removeprefix(f"{start}."): tensor
            for name, tensor in tensors.items()
            if name.startswith(f"{start}.")
        }
        self.look: torch.Tensor | None = None
        norm.register_forward_pre_hook(self.note)

    def note(self, _module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        self.x = inputs[0]

    def forward(self, *inputs, **named):
        own, x = self.own, self.x
        if self.look is not None:
            x = x + self.look @ own["condition_linear.weight"].T + own["condition_linear.bias"]
        hidden = x @ own["down_linear.weight"].T + own["down_linear.bias"]
        gelu = hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5))
        return (
            self.part(*inputs, **named) + gelu @ own["up_linear.weight"].T + own["up_linear.bias"]
        )


NORMS = {"attn1": "norm1", "attn2": "norm2", "ff": "norm3"}


@pytest.mark.parametrize("role", ["identity", "motion"])
def test_a_video_is_predicted_as_the_equations_say(
    role: str, targets, bases, converted: Convert, tmp_path: Path
) -> None:
    """The whole network with bottlenecks written out at VGen's places, against the imported file."""
    tensors = files.bottlenecks(targets["unet3d"], role)
    (adapter,) = converted(vgen_file(tensors, tmp_path / "adapter.pth"), "unet3d")
    base = bases["unet3d"]
    delta = on(base, adapter)
    assert delta.bank is not None
    look = files.Draws(5)(1, base.geometry.image_width, scale=1.0) if role == "motion" else None
    delta.bank.condition = None if look is None else Condition(look)
    theirs = copy.copy(base)
    theirs.denoiser = copy.deepcopy(base.denoiser)
    for place, ours in (files.VGEN_SPATIAL if role == "identity" else files.VGEN_TEMPORAL).items():
        block = theirs.denoiser.get_submodule(f"{ours}.transformer_blocks.0")
        for part, name in files.VGEN_PARTS.items():
            start = f"{place}.transformer_blocks.0.{part}"
            if f"{start}.down_linear.weight" in tensors:
                norm = getattr(block, NORMS[name])
                beside = Literal(getattr(block, name), norm, tensors, start)
                beside.look = look
                setattr(block, name, beside)
    found = predict(base, delta)
    assert (found - predict(base)).abs().max() > 1e-3
    torch.testing.assert_close(found, predict(theirs), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("change", ["lost", "added"])
def test_keys_are_checked_both_ways(
    change: str, targets, converted: Convert, tmp_path: Path
) -> None:
    tensors = files.bottlenecks(targets["unet3d"], "identity")
    key = next(iter(tensors))
    if change == "lost":
        del tensors[key]
    else:
        tensors[key.replace("input_blocks.1.1", "input_blocks.3.1")] = tensors[key]
    with pytest.raises(IncompatibleError, match="lacks" if change == "lost" else "has more"):
        converted(vgen_file(tensors, tmp_path / "adapter.pth"), "unet3d")


def test_a_ratio_that_is_not_one_is_refused(targets, converted: Convert, tmp_path: Path) -> None:
    """A fixed hidden width beside streams of several widths."""
    tensors = files.bottlenecks(targets["unet3d"], "identity", hidden=7)
    with pytest.raises(IncompatibleError, match="no one proportion"):
        converted(vgen_file(tensors, tmp_path / "adapter.pth"), "unet3d")


def test_a_word_comes_with_its_bottlenecks(targets, converted: Convert, tmp_path: Path) -> None:
    """VGen keeps it in a file of its own, as a module of torch."""
    tensors = files.bottlenecks(targets["unet3d"], "identity")
    found = files.Draws(2)(1, targets["unet3d"].word_width)
    params = nn.ParameterDict({"*": nn.Parameter(found)})
    torch.save(
        {"string_to_token": {"*": torch.tensor(265)}, "string_to_param": params},
        tmp_path / "word.pt",
    )
    path = vgen_file(tensors, tmp_path / "adapter.pth")
    (adapter,) = converted(path, "unet3d", word=tmp_path / "word.pt", class_word="dog")
    assert torch.equal(adapter.tensors["word.vector"], found)
    assert (adapter.facts.token, adapter.facts.phrase) == ("<corgi>", "dog")
    assert [item.name for item in adapter.facts.inputs] == ["adapter.pth", "word.pt"]


FULL_SIZE = {"identity": (64, 12_409_120), "motion": (306, 77_966_496)}


@pytest.mark.parametrize("role", FULL_SIZE)
def test_at_full_size_every_name_of_vgen_has_its_site(role: str) -> None:
    """Names by VGen's rule at two residual blocks a level, shapes on the meta device."""
    base = open_hollow()
    sites = {each: base.sites(each) for each in ("identity", "motion")}
    bank = bottleneck_bank(sites[role], 0.5, 1024 if role == "motion" else None)
    ours = {
        f"{site.name}.{name}": tensor
        for site, layer in zip(bank.sites, bank.bottlenecks, strict=True)
        for name, tensor in layer.state_dict().items()
    }
    spatial = {
        **{f"input_blocks.{3 * i + j + 1}": f"down_blocks.{i}" for i in range(3) for j in range(2)},
        "middle_block": "mid_block",
        **{f"output_blocks.{3 * i + j}": f"up_blocks.{i}" for i in (1, 2, 3) for j in range(3)},
    }
    slot, parts = (1, ["cross_attn_adapter"]) if role == "identity" else (2, [*files.VGEN_PARTS])
    places = [f"{place}.{slot}" for place in spatial] + (["input_blocks.0.1"] * (slot == 2))
    matrices = ["down_linear", "up_linear", *(["condition_linear"] if role == "motion" else [])]
    keys = [
        f"{place}.transformer_blocks.0.{part}.{matrix}.{ending}"
        for place in places
        for part in parts
        for matrix in matrices
        for ending in ("weight", "bias")
    ]
    opened = Opened(Path("adapter.pth"), {key: torch.ones(1) for key in keys})
    found, renamed = vgen.read_bottlenecks(opened, sites, layers=2, base="ModelScope")
    assert (found, renamed.keys()) == (role, ours.keys())
    assert (len(ours), sum(tensor.numel() for tensor in ours.values())) == FULL_SIZE[role]
