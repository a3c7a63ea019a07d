"""The layers that published files have, counted against bases of the real sizes without weights."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from engine.bases import locate_base
from engine.formats.spellings import SPELLINGS
from engine.formats.target import Target
from tests import animatediff_full_size, wan_full_size


def names(target: Target, tool: str, pattern: str) -> set[str]:
    """What a tool calls the layers of a base, those alone that match."""
    spelling = next(each for each in SPELLINGS if each.name == tool)
    found = {spelling.spell(slot.layer) for slot in target.slots}
    return {name for name in found if name and re.fullmatch(pattern, name)}


def test_kohyas_192_layers_of_stable_diffusion_have_their_places(tmp_path: Path) -> None:
    """16 transformers of 12: proj_in, proj_out, q k v out of two attentions, two of the feed-forward; and the 168
    attention layers of a motion LoRA of version 2."""
    image, motion = animatediff_full_size.write_configs(tmp_path, mid_block=True)
    target = Target(locate_base(str(image), motion_module=str(motion)))
    spatial = (
        r"lora_unet_(down_blocks_[0-2]_attentions_[01]|mid_block_attentions_0|up_blocks_[1-3]_attentions_[0-2])_"
        r"(proj_(in|out)|transformer_blocks_0_(attn[12]_to_(q|k|v|out_0)|ff_net_(0_proj|2)))"
    )
    assert len(names(target, "kohya", spatial)) == 16 * 12
    temporal = r".+\.motion_modules\.\d\.temporal_transformer\.transformer_blocks\.0\..+"
    assert len(names(target, "animatediff", temporal)) == 21 * 8


@pytest.mark.parametrize(("name", "blocks"), [("1.3B", 30), ("14B", 40)])
def test_comfys_layers_of_wan_have_their_places(name: str, blocks: int, tmp_path: Path) -> None:
    """Ten a block: q k v o of two attentions, and the two of the feed-forward."""
    target = Target(locate_base(str(wan_full_size.write_configs(tmp_path, name))))
    pattern = r"diffusion_model\.blocks\.\d+\.((self|cross)_attn\.[qkvo]|ffn\.[02])"
    assert len(names(target, "comfy", pattern)) == 10 * blocks
