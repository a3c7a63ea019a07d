"""A clip's layout by a ControlNet, on the families that take one, and refused by the other."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import ControlNetModel

from engine.bases.controlnet import locate_controlnet, locate_depth_model
from engine.bases.folder import read_json
from engine.errors import BaseInvalidError, BaseNotFoundError, IncompatibleError, RecipeError
from engine.guides.depth import see_depth
from engine.guides.inputs import Guides
from engine.guides.structure import StructureGuide, acts_at, show_structure
from engine.recipe import build_recipe
from engine.sources import Structure
from tests.engine.guides.test_start import CLIP, PLAIN, video
from tests.tiny import quiet_draws, wake

CPU = torch.device("cpu")
SAME = ("in_channels", "block_out_channels", "layers_per_block", "cross_attention_dim")


def build_controlnet(location, folder, *, is_awake=True, **changes):
    """A tiny ControlNet for a base, that does nothing unless it is awake."""
    own = read_json(location.folder / "unet" / "config.json")
    settings = {name: own[name] for name in (*SAME, "norm_num_groups")}
    blocks = [kind.replace("3D", "2D").replace("Motion", "2D") for kind in own["down_block_types"]]
    heads = {"attention_head_dim": own.get("attention_head_dim") or 8}
    with quiet_draws(5):
        net = ControlNetModel(
            down_block_types=[kind.replace("2D2D", "2D") for kind in blocks],
            conditioning_embedding_out_channels=(16, 32),
            **{**settings, **heads, **changes},
        )
        (wake(net, 0.5) if is_awake else net).save_pretrained(folder)
    return folder


@pytest.fixture
def image_based(loaded):
    if not loaded.location.family.takes_controlnet:
        pytest.skip("this family takes no ControlNet")
    return loaded


def build_depth_model(folder, **settings):
    """A tiny model of depth of random weights."""
    from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config

    tower = Dinov2Config(
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        image_size=28,
        out_features=["stage1", "stage2", "stage3", "stage4"],
        reshape_hidden_states=False,
    )
    config = DepthAnythingConfig(
        backbone_config=tower,
        reassemble_hidden_size=16,
        neck_hidden_sizes=[4, 4, 8, 8],
        fusion_hidden_size=8,
        head_hidden_size=8,
        **settings,
    )
    with quiet_draws(3):
        net = DepthAnythingForDepthEstimation(config)
    wake(net, 0.3).save_pretrained(folder)
    return folder


def follow(loaded, folder, *, depth_model=None, **changes):
    model = locate_controlnet(str(folder), loaded.location)
    asked = {"clip": CLIP.digest, "model": model.fingerprint, "kind": "as-is", "until": 1.0}
    if depth_model is not None:
        asked["depth"] = depth_model.fingerprint
    return video(
        loaded,
        Guides(structure=CLIP, controlnet=model, depth=depth_model),
        structure=build_recipe(Structure, {**asked, **changes}),
        guidance=3.0,
    )


def test_a_fresh_one_and_one_without_scale_or_steps_are_the_base_bit_for_bit(image_based, tmp_path):
    plain = video(image_based, guidance=3.0)
    fresh = build_controlnet(image_based.location, tmp_path / "fresh", is_awake=False)
    assert np.array_equal(follow(image_based, fresh), plain)
    awake = build_controlnet(image_based.location, tmp_path / "awake")
    assert np.array_equal(follow(image_based, awake, scale=0.0), plain)
    assert np.array_equal(follow(image_based, awake, until=0.0), plain)


def test_what_it_is_shown_how_strongly_and_when_each_change_the_video(image_based, tmp_path):
    folder = build_controlnet(image_based.location, tmp_path / "net")
    videos = [
        video(image_based, guidance=3.0),
        follow(image_based, folder),
        follow(image_based, folder, kind="luma"),
        follow(image_based, folder, kind="canny"),
        follow(image_based, folder, scale=0.5),
        follow(image_based, folder, until=0.5),
        follow(image_based, folder, since=0.5),
    ]
    assert len({made.tobytes() for made in videos}) == len(videos)


def test_residuals_are_those_of_each_frame_alone(image_based, tmp_path):
    base = image_based._base
    folder = build_controlnet(image_based.location, tmp_path / "net")
    net = ControlNetModel.from_pretrained(folder).eval()
    latents = torch.randn(base.latent_shape(3, 32, 32), generator=torch.Generator().manual_seed(1))
    *_, height, width = latents.shape
    shown = torch.rand(3, 3, 2 * height, 2 * width, generator=torch.Generator().manual_seed(2))
    text, times = base.encode_text(["a dog"], {}), torch.tensor([300])
    alone = [
        net(latents[:, :, k], 300, text.features, shown[k : k + 1], 0.7, return_dict=False)
        for k in range(3)
    ]
    down = [torch.cat([each[0][n] for each in alone]) for n in range(len(alone[0][0]))]
    rows = text.features
    if base.family == "animatediff":
        rows = rows.repeat_interleave(3, dim=0)
    with torch.no_grad():
        expected = base.denoiser(
            latents,
            times,
            rows,
            down_block_additional_residuals=down,
            mid_block_additional_residual=torch.cat([each[1] for each in alone]),
            return_dict=False,
        )[0]
        with StructureGuide(net, shown, 0.7).attached(base.denoiser):
            found = base.denoise(latents, times, text)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_it_acts_between_its_fractions_of_the_steps():
    structure = Structure(clip="0" * 64, model="1" * 64, since=0.25, until=0.75)
    assert [acts_at(structure, step, 4) for step in range(4)] == [False, True, True, False]


def test_what_is_shown():
    frames = CLIP.frames
    luma = show_structure(frames, "luma")
    assert np.array_equal(luma[..., 0], luma[..., 2])
    weights = frames @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(luma[..., 0], weights, atol=1)
    assert set(np.unique(show_structure(frames, "canny"))) <= {0, 255}
    assert show_structure(frames, "as-is") is frames


@pytest.mark.parametrize("kind", ["relative", "metric"])
def test_depth_is_white_where_it_is_nearest_in_the_whole_clip(kind, tmp_path, monkeypatch):
    """A stand-in that takes brightness for what it sees: how near, or of a model of metres how far."""
    settings = {
        "size": {"height": 32, "width": 32},
        "image_mean": [0.0] * 3,
        "image_std": [1.0] * 3,
    }

    class Stand(torch.nn.Module):
        config = SimpleNamespace(depth_estimation_type=kind, image_size=32)

        def forward(self, pixels):
            return SimpleNamespace(predicted_depth=pixels.mean(dim=1))

    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    monkeypatch.setattr("engine.guides.depth._open", lambda *_: Stand())
    frames = np.ascontiguousarray(
        CLIP.frames[:, :32, :32]
    )  # of the model's side: nothing is scaled
    seen = see_depth(frames, tmp_path, CPU)
    bright = frames.mean(axis=-1) * (1 if kind == "relative" else -1)
    expected = (bright - bright.min()) / np.ptp(bright) * 255
    np.testing.assert_allclose(seen[..., 0], expected, atol=0.51)
    assert np.array_equal(seen[..., 0], seen[..., 2])


def test_depth_is_seen_by_a_model_that_the_recipe_names(image_based, tmp_path):
    net = build_controlnet(image_based.location, tmp_path / "net")
    depth = locate_depth_model(str(build_depth_model(tmp_path / "depth")))
    made = follow(image_based, net, kind="depth", depth_model=depth)
    assert not np.array_equal(made, follow(image_based, net))
    with pytest.raises(RecipeError, match="has a model of depth where its kind is depth"):
        build_recipe(Structure, {"clip": "0" * 64, "model": "1" * 64, "kind": "depth"})
    (depth.folder / "model.safetensors").unlink()
    with pytest.raises(BaseInvalidError, match=r"depth model in .* cannot be loaded"):
        see_depth(CLIP.frames, depth.folder, CPU)


def test_a_family_without_controlnets_says_so(loaded, tmp_path):
    if loaded.location.family.takes_controlnet:
        pytest.skip("this family takes ControlNets")
    with pytest.raises(IncompatibleError, match="the family wan, which takes no ControlNet"):
        locate_controlnet(str(tmp_path), loaded.location)


def test_another_bases_is_refused_before_it_is_loaded(image_based, tmp_path):
    location = image_based.location
    wide = build_controlnet(location, tmp_path / "wide", cross_attention_dim=48)
    with pytest.raises(IncompatibleError, match=r"reads prompts 48 wide, and .* reads prompts"):
        locate_controlnet(str(wide), location)
    (wide / "config.json").write_text(json.dumps({"_class_name": "UNet2DModel"}))
    with pytest.raises(BaseInvalidError, match="holds a UNet2DModel, not a ControlNetModel"):
        locate_controlnet(str(wide), location)
    with pytest.raises(BaseNotFoundError, match="ControlNet"):
        locate_controlnet("./nowhere", location)


def test_another_controlnet_than_the_recipes_is_refused(image_based, tmp_path):
    model = locate_controlnet(
        str(build_controlnet(image_based.location, tmp_path / "net")), image_based.location
    )
    other = Structure(clip=CLIP.digest, model="f" * 64)
    with pytest.raises(RecipeError, match="ControlNet is sha256:ffffffffffff, and"):
        video(image_based, Guides(structure=CLIP, controlnet=model), structure=other)
    assert PLAIN["frames"] == len(CLIP.frames)
