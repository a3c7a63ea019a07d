"""AnimateDiff's two sources: what they are together, what a photo is to them, and what is refused."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from engine.bases import locate_base, open_base
from engine.bases.checks.fitness import Request, check_fitness
from engine.bases.checks.limits import check_video
from engine.bases.checks.weights import loaded_files, require_whole
from engine.blocks import recompute_blocks
from engine.errors import BaseInvalidError, BaseNotFoundError, RecipeError
from engine.recipe import GenerateRecipe, build_recipe
from tests.animatediff import (
    HEIGHT_PX,
    MOST_FRAMES,
    WIDTH_PX,
    build_animatediff,
    build_image_model,
    build_motion_module,
)
from tests.animatediff_full_size import write_configs
from tests.engine.bases.families import awake_bank
from tests.tiny import open_tiny, quiet_draws

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def image_model(tmp_path_factory):
    return build_image_model(tmp_path_factory.mktemp("image") / "sd")


@pytest.fixture(scope="module")
def module(tmp_path_factory):
    return build_motion_module(tmp_path_factory.mktemp("motion") / "module")


@pytest.fixture(scope="module")
def location(image_model, module):
    return locate_base(str(image_model), motion_module=str(module))


@pytest.fixture(scope="module")
def base(location):
    return open_base(location, device=CPU, dtype=torch.float32)


@pytest.fixture
def copies(image_model, module, tmp_path):
    """An image model and a motion module that a test may spoil."""
    return (
        shutil.copytree(image_model, tmp_path / "image"),
        shutil.copytree(module, tmp_path / "module"),
    )


def rewrite(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | changes), "utf-8")


@pytest.fixture(scope="module")
def scene():
    draw = torch.Generator().manual_seed(0)
    shape = (2, 4, 1, HEIGHT_PX // 4, WIDTH_PX // 4)
    return torch.randn(shape, generator=draw), torch.tensor([10, 700])


def test_the_denoiser_is_diffusers_own_of_both(base, image_model, module):
    from diffusers import MotionAdapter, UNet2DConditionModel, UNetMotionModel

    with quiet_draws(0):
        image = UNet2DConditionModel.from_pretrained(image_model / "unet")
        theirs = UNetMotionModel.from_unet2d(image, MotionAdapter.from_pretrained(module))
    own, other = base.denoiser.state_dict(), theirs.state_dict()
    assert own.keys() == other.keys()
    assert all(torch.equal(own[name], other[name]) for name in own)


def test_opening_two_sources_leaves_the_random_numbers_alone(location):
    before = torch.get_rng_state()
    open_base(location, device=CPU, dtype=torch.float32)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("is_lean", [False, True], ids=["kept", "recomputed"])
def test_a_photo_is_denoised_by_the_image_model_bit_for_bit(location, image_model, scene, is_lean):
    from diffusers import UNet2DConditionModel

    base = open_base(location, device=CPU, dtype=torch.float32)
    if is_lean:
        recompute_blocks(base)
    latents, times = scene
    text = base.encode_text(["a dog", "a red box"], {}).detach()
    image = UNet2DConditionModel.from_pretrained(image_model / "unet").eval()
    noisy = latents.clone().requires_grad_()
    found = base.denoise(noisy, times, text)
    flat = latents[:, :, 0].clone().requires_grad_()
    expected = image(flat, times, text.features, return_dict=False)[0]
    assert torch.equal(found[:, :, 0], expected)
    found.square().sum().backward()
    expected.square().sum().backward()
    assert torch.equal(noisy.grad[:, :, 0], flat.grad)


def test_frames_of_a_video_know_of_each_other(base, scene):
    latents, times = scene
    text = base.encode_text(["a dog", "a red box"], {})
    video = torch.cat([latents, latents.flip(0)], dim=2)
    with torch.no_grad():
        moving = base.denoise(video, times, text)
        still = base.denoise(latents, times, text)
    assert not torch.allclose(moving[:, :, :1], still, atol=1e-3)


def test_a_motion_does_nothing_to_a_photo(base, scene):
    latents, times = scene
    text = base.encode_text(["a dog", "a red box"], {})
    with torch.no_grad():
        plain = base.denoise(latents, times, text)
        with awake_bank(base, "motion").attached(base.denoiser):
            assert torch.equal(base.denoise(latents, times, text), plain)


def test_the_noise_is_what_motion_modules_were_trained_with(base):
    scheduler = base.samplers["ddim"](10)
    assert scheduler.config.beta_schedule == "linear"
    assert scheduler.timesteps.tolist() == [round(999 * k / 9) for k in range(9, -1, -1)]
    one = torch.ones(1, 1, 1, 1, 1)
    kept = base.path.mix(one, torch.zeros_like(one), torch.tensor([999])).item()
    linear = torch.linspace(0.00085, 0.012, 1000, dtype=torch.float64)
    assert kept == pytest.approx((1 - linear).prod().sqrt().item(), rel=1e-4)


def test_a_folder_of_both_covers_what_it_reads_once(tmp_path):
    folder = build_animatediff(tmp_path / "base")
    before = locate_base(str(folder))
    shutil.rmtree(folder / "motion_adapter")
    after = locate_base(str(folder))
    assert (after.fingerprint, after.size_bytes) == (before.fingerprint, before.size_bytes)
    assert before.motion_module is None


def test_the_fingerprint_is_of_both_sources(location, image_model, tmp_path):
    other = build_motion_module(tmp_path / "other", seed=5)
    found = locate_base(f"{image_model} + {other}")
    assert found.fingerprint != location.fingerprint
    assert found.size_bytes > sum(path.stat().st_size for path in loaded_files(found))


def test_the_module_is_the_same_one_wherever_it_lies(location, image_model, module, tmp_path):
    moved = shutil.copytree(module, tmp_path / "elsewhere")
    found = locate_base(str(image_model), motion_module=str(moved))
    assert found.fingerprint == location.fingerprint


def test_the_name_of_both_finds_them_again(location, image_model, module):
    assert location.id == f"{image_model} + {module}"
    assert locate_base(location.id) == location


def test_a_flag_comes_before_the_module_in_a_name(location, image_model, module, tmp_path):
    assert locate_base(f"{image_model} + {tmp_path}", motion_module=str(module)) == location


def test_half_precision_copies_change_no_fingerprint(location, copies):
    image, module = copies
    weights = module / "diffusion_pytorch_model.safetensors"
    shutil.copy(weights, module / "diffusion_pytorch_model.fp16.safetensors")
    shutil.copy(weights, image / "unet" / "diffusion_pytorch_model.non_ema.safetensors")
    found = locate_base(f"{image} + {module}")
    assert (found.fingerprint, found.size_bytes) == (location.fingerprint, location.size_bytes)


def test_the_card_says_the_size_of_the_image_model_and_no_more_frames_than_the_module_takes(
    location,
):
    values = location.card.generate_defaults
    assert (values["frames"], values["fps"]) == (min(16, MOST_FRAMES), 8.0)
    assert (values["height_px"], values["width_px"]) == (HEIGHT_PX, WIDTH_PX)
    assert values["guidance"] == 7.5
    assert values["negative"] == "bad quality, worse quality"


def test_the_known_base_is_made_for_512_pixels(tmp_path):
    image, module = write_configs(tmp_path)
    card = locate_base(f"{image} + {module}").card
    recipe = build_recipe(GenerateRecipe, {"prompt": "", **card.generate_defaults})
    assert (recipe.height_px, recipe.width_px, recipe.frames) == (512, 512, 16)
    assert (recipe.sampler, recipe.guidance) == ("ddim", 7.5)


def test_more_frames_than_the_module_has_places_for_are_refused(location):
    made = {"prompt": "", "height_px": HEIGHT_PX, "width_px": WIDTH_PX}
    check_video(location, GenerateRecipe(**made, frames=MOST_FRAMES))
    with pytest.raises(RecipeError, match=f"at most {MOST_FRAMES}"):
        check_video(location, GenerateRecipe(**made, frames=MOST_FRAMES + 1))


def test_a_saved_pipeline_with_another_scheduler_is_used_as_it_was_trained_and_said_to_be(tmp_path):
    folder = build_animatediff(tmp_path / "base")
    saved = open_tiny(folder)
    request = Request("", "prompt", device="cpu")
    assert check_fitness(saved.location, request) == ()
    path = folder / "scheduler" / "scheduler_config.json"
    rewrite(path, beta_schedule="scaled_linear", timestep_spacing="leading")
    again = open_tiny(folder)
    one, times = torch.ones(1, 1, 1, 1, 1), torch.tensor([500])
    assert torch.equal(again.path.mix(one, 0 * one, times), saved.path.mix(one, 0 * one, times))
    (warning,) = check_fitness(again.location, request)
    assert warning.kind == "scheduler"
    assert "beta_schedule scaled_linear gives way to linear" in warning.text
    assert "timestep_spacing leading gives way to linspace" in warning.text


def test_an_image_model_alone_is_refused_and_the_flag_named(image_model):
    with pytest.raises(BaseInvalidError, match="nothing in it moves") as caught:
        locate_base(str(image_model))
    assert "--motion-module" in caught.value.hint


def test_a_video_model_takes_no_motion_module(tiny_folder, module):
    with pytest.raises(BaseInvalidError, match="takes no motion module"):
        locate_base(str(tiny_folder), motion_module=str(module))


@pytest.mark.parametrize(
    ("where", "changes", "told"),
    [
        ("module/config.json", {"_class_name": "UNet2DConditionModel"}, "is no motion module"),
        ("module/config.json", {"block_out_channels": [8, 16]}, r"8, 24.*8, 16"),
        ("module/config.json", {"conv_in_channels": 9}, "a picture beside the noise"),
        ("image/unet/config.json", {"in_channels": 9}, "fills in or edits"),
        ("image/model_index.json", {"text_encoder_2": ["transformers", "X"]}, "XL"),
        (
            "image/scheduler/scheduler_config.json",
            {"prediction_type": "v_prediction"},
            "v_prediction",
        ),
    ],
)
def test_sources_that_do_not_go_together_are_refused_at_once(copies, where, changes, told):
    image, module = copies
    rewrite(image.parent / where, **changes)
    with pytest.raises(BaseInvalidError, match=told):
        locate_base(f"{image} + {module}")


def test_an_image_model_that_no_module_moves_is_offered_none(copies):
    image, _ = copies
    rewrite(image / "model_index.json", text_encoder_2=["transformers", "X"])
    with pytest.raises(
        BaseInvalidError, match="goes with no motion module: it is of Stable Diffusion XL"
    ):
        locate_base(str(image))


def test_a_module_of_other_layers_is_refused_when_it_is_opened(copies):
    image, module = copies
    shutil.rmtree(module)
    from diffusers import MotionAdapter

    with quiet_draws(0):
        sizes = {"block_out_channels": (8, 24), "motion_norm_num_groups": 4}
        MotionAdapter(**sizes, motion_num_attention_heads=4).save_pretrained(module)
    with pytest.raises(BaseInvalidError, match="does not fit"):
        open_base(locate_base(f"{image} + {module}"), device=CPU, dtype=torch.float32)


def test_a_motion_module_cut_short_is_named_before_the_wait(copies):
    image, module = copies
    weights = module / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(BaseInvalidError, match="cut short"):
        require_whole(locate_base(f"{image} + {module}"))


@pytest.mark.parametrize("name", ["./nowhere", "owner/nowhere", "nowhere"])
def test_a_module_that_is_not_there_is_called_a_module(image_model, name):
    with pytest.raises(BaseNotFoundError, match=f"motion module {name}"):
        locate_base(str(image_model), motion_module=name)


def test_a_single_file_is_no_motion_module(image_model, tmp_path):
    file = tmp_path / "mm_sd_v15_v2.ckpt"
    file.touch()
    with pytest.raises(BaseNotFoundError, match="single file") as caught:
        locate_base(str(image_model), motion_module=str(file))
    assert "config.json" in caught.value.hint
