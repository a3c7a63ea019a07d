"""VGen's UNet as a base: by names written out here, a strict load, and the same predictions."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from engine.bases import locate_base, open_base
from engine.errors import IncompatibleError, OutputExistsError
from engine.formats.unet_base import import_base
from tests.engine.formats.conftest import predict

# The modules of the tiny base, and VGen's: two levels with one residual block each, and one that samples.
MODULES = {
    "conv_in": "input_blocks.0.0",
    "transformer_in": "input_blocks.0.1",
    "down_blocks.0.resnets.0": "input_blocks.1.0",
    "down_blocks.0.attentions.0": "input_blocks.1.1",
    "down_blocks.0.temp_attentions.0": "input_blocks.1.2",
    "down_blocks.0.downsamplers.0.conv": "input_blocks.2.op",
    "down_blocks.1.resnets.0": "input_blocks.3.0",
    "mid_block.resnets.0": "middle_block.0",
    "mid_block.attentions.0": "middle_block.1",
    "mid_block.temp_attentions.0": "middle_block.2",
    "mid_block.resnets.1": "middle_block.3",
    "up_blocks.0.resnets.0": "output_blocks.0.0",
    "up_blocks.0.resnets.1": "output_blocks.1.0",
    "up_blocks.0.upsamplers.0.conv": "output_blocks.1.1.conv",
    "up_blocks.1.resnets.0": "output_blocks.2.0",
    "up_blocks.1.attentions.0": "output_blocks.2.1",
    "up_blocks.1.temp_attentions.0": "output_blocks.2.2",
    "up_blocks.1.resnets.1": "output_blocks.3.0",
    "up_blocks.1.attentions.1": "output_blocks.3.1",
    "up_blocks.1.temp_attentions.1": "output_blocks.3.2",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}


def vgen_unet(denoiser: torch.nn.Module) -> dict[str, torch.Tensor]:
    """A denoiser's tensors as VGen has them: its own names, and convolutions of one step before and after time."""
    tensors = {}
    for name, tensor in denoiser.state_dict().items():
        along = name.replace(".temp_convs.", ".resnets.")
        start = max((m for m in MODULES if along.startswith(f"{m}.")), key=len)
        rest = along.removeprefix(f"{start}.")
        if ".temp_convs." in name:
            rest = f"temopral_conv.{rest}"
        elif ".resnets." in start:
            part, _, kind = rest.rpartition(".")
            rest = f"{RESNET[part]}.{kind}"
        is_projection = re.fullmatch(r"proj_(in|out)\.weight", rest) and (
            "temp_" in start or start == "transformer_in"
        )
        tensors[f"{MODULES[start]}.{rest}"] = tensor[..., None] if is_projection else tensor
    return tensors


@pytest.fixture
def unet(bases, tmp_path: Path) -> Path:
    """The tiny base's denoiser, all numbers doubled, in a file of VGen."""
    state = {name: 2 * tensor for name, tensor in vgen_unet(bases["unet3d"].denoiser).items()}
    torch.save({"state_dict": state, "step": 1}, tmp_path / "unet.pth")
    return tmp_path / "unet.pth"


def test_a_unet_of_vgen_becomes_a_base(unet: Path, locations, bases, tmp_path: Path) -> None:
    """Of every tensor the double, everything else of the base that it is like."""
    like = locations["unet3d"]
    folder = import_base(unet, like, tmp_path / "base")
    location = locate_base(str(folder))
    made = open_base(location, device=torch.device("cpu"), dtype=torch.float32)
    own = bases["unet3d"].denoiser.state_dict()
    assert all(torch.equal(t, 2 * own[name]) for name, t in made.denoiser.state_dict().items())
    assert location.fingerprint != like.fingerprint
    assert location.tower_fingerprint == like.tower_fingerprint
    assert location.card == like.card
    assert predict(made).shape == predict(bases["unet3d"]).shape


def test_shapes_and_names_are_checked_both_ways(
    unet: Path, locations, bases, tmp_path: Path
) -> None:
    state = vgen_unet(bases["unet3d"].denoiser)
    key = "middle_block.1.norm.weight"
    for change, words in (
        ({key: None}, "lacks mid_block.attentions.0.norm.weight"),
        ({"input_blocks.1.1.extra.weight": state[key]}, "has more than that base"),
        ({key: torch.ones(5)}, r"mid_block.attentions.0.norm.weight is \(5,\)"),
        ({"elsewhere.weight": state[key]}, "which no UNet of ModelScope has"),
    ):
        kept = {name: t for name, t in {**state, **change}.items() if t is not None}
        torch.save(kept, unet)
        with pytest.raises(IncompatibleError, match=words):
            import_base(unet, locations["unet3d"], tmp_path / "base")
        assert not (tmp_path / "base").exists()


def test_what_is_no_unet_or_no_modelscope_is_refused(unet: Path, locations, tmp_path: Path) -> None:
    with pytest.raises(IncompatibleError, match="of the family wan"):
        import_base(unet, locations["wan"], tmp_path / "base")
    torch.save({"layer.weight": torch.ones(2)}, unet)
    with pytest.raises(IncompatibleError, match="is no UNet of VGen"):
        import_base(unet, locations["unet3d"], tmp_path / "base")


def test_nothing_is_replaced(unet: Path, locations, tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    with pytest.raises(OutputExistsError):
        import_base(unet, locations["unet3d"], tmp_path / "base")
