"""Folders that the unet3d family must open, and those it must refuse with one clear line."""

from __future__ import annotations

import inspect
import json
import shutil
from unittest.mock import patch

import numpy as np
import pytest
import torch

from engine.bases.models.image_pixels import square_for_tower
from engine.errors import BaseInvalidError, BaseNotFoundError
from tests.tiny import (
    FPS,
    FRAMES,
    HEIGHT_PX,
    IMAGE_WIDTH,
    LATENT_CHANNELS,
    LATENT_SCALE,
    PIXELS,
    TEXT_LENGTH,
    TEXT_WIDTH,
    TOWER_PX,
    WIDTH_PX,
    build_unet3d,
    build_whole_clip,
    open_tiny,
)

PROMPTS = ["a dog sweeping on grass", "", "Zebra! <b>, 42 é"]


@pytest.fixture
def copy(tiny_folder, tmp_path):
    """A folder that a test may spoil."""
    return shutil.copytree(tiny_folder, tmp_path / "copy")


@pytest.fixture(scope="module")
def image():
    return torch.rand(1, 3, HEIGHT_PX, WIDTH_PX, generator=torch.Generator().manual_seed(0)) * 2 - 1


def read(base):
    return base.encode_text(PROMPTS, {}).features


def middle(image):
    """What the square tower sees of it."""
    return image[..., (WIDTH_PX - TOWER_PX) // 2 :][..., :TOWER_PX]


def rewrite(path, **changes):
    facts = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps(facts | changes), "utf-8")


def test_the_geometry_is_read_from_card_and_configs(tiny_base):
    geometry = tiny_base.geometry
    assert (geometry.frames, geometry.fps) == (FRAMES, FPS)
    assert (geometry.height_px, geometry.width_px) == (HEIGHT_PX, WIDTH_PX)
    assert (geometry.latent_channels, geometry.latent_scale) == (LATENT_CHANNELS, LATENT_SCALE)
    assert (geometry.text_length, geometry.text_width) == (TEXT_LENGTH, TEXT_WIDTH)
    assert geometry.image_width == IMAGE_WIDTH


def test_the_layout_of_older_folders_reads_the_same(tiny_base, tmp_path):
    old = open_tiny(build_unet3d(tmp_path / "old", old_layout=True))
    assert torch.equal(read(old), read(tiny_base))


def test_a_folder_without_a_card_opens(tmp_path):
    assert open_tiny(build_unet3d(tmp_path / "bare", card=False)).geometry.text_width == TEXT_WIDTH


def test_a_folder_saved_in_half_precision_only_opens(tiny_folder, tiny_base, tmp_path):
    from diffusers import AutoencoderKL, UNet3DConditionModel
    from transformers import CLIPTextModel

    half = shutil.copytree(tiny_folder, tmp_path / "half")
    parts = {"unet": UNet3DConditionModel, "vae": AutoencoderKL, "text_encoder": CLIPTextModel}
    for part, real_class in parts.items():
        model = real_class.from_pretrained(tiny_folder / part).half()
        shutil.rmtree(half / part)
        model.save_pretrained(half / part, variant="fp16")
    assert torch.allclose(read(open_tiny(half)), read(tiny_base), atol=0.05)


def test_an_image_is_cropped_and_normalised_as_its_tower_says(tiny_base, tiny_folder, image):
    from transformers import CLIPVisionModelWithProjection

    tower = CLIPVisionModelWithProjection.from_pretrained(tiny_folder / "image_encoder")
    mean, std = (np.reshape(PIXELS[name], (3, 1, 1)) for name in ("image_mean", "image_std"))
    pixels = ((middle(image).numpy() + 1) / 2 - mean) / std
    with torch.no_grad():
        expected = tower(torch.from_numpy(pixels).float()).image_embeds
    assert torch.allclose(tiny_base.encode_image(image), expected, atol=1e-4)


@pytest.mark.parametrize("shape", [(57, 101), (101, 57), (48, 48), (40, 1000)])
def test_a_picture_keeps_its_proportions_before_the_tower_as_clip_prepares_it(shape):
    from PIL import Image
    from transformers import CLIPImageProcessor

    # Waves in both directions, so that another size, place or proportion is another picture.
    y, x = np.mgrid[: shape[0], : shape[1]]
    waves = np.stack([np.sin(x / 9), np.cos(y / 7), np.sin((x + y) / 11)], axis=-1)
    pixels = np.rint(127.5 + 100 * waves).astype(np.uint8)
    processor = CLIPImageProcessor(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}, do_normalize=False
    )
    expected = processor(Image.fromarray(pixels), return_tensors="pt")["pixel_values"]
    images = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255
    found = square_for_tower(images, 32)
    assert found.shape == (1, 3, 32, 32)
    assert (found - expected).abs().max() < 2 / 255


def test_the_tower_of_a_wide_picture_sees_its_middle(tiny_base, image):
    middle = torch.cat([torch.ones_like(image), image, -torch.ones_like(image)], dim=-1)
    assert torch.allclose(tiny_base.encode_image(middle), tiny_base.encode_image(image), atol=1e-4)


def test_the_projected_vector_is_not_normalised(tiny_base, image):
    assert abs(tiny_base.encode_image(image).norm().item() - 1.0) > 0.1


def test_an_image_tower_may_stand_beside_the_base(tiny_folder, tiny_base, tmp_path, image):
    bare = build_unet3d(tmp_path / "bare", image_tower=False)
    base = open_tiny(bare, image_tower=str(tiny_folder / "image_encoder"))
    assert base.geometry.image_width == IMAGE_WIDTH
    assert torch.equal(base.encode_image(image), tiny_base.encode_image(image))


def test_a_whole_clip_may_serve_as_the_image_tower(tmp_path, image):
    from transformers import CLIPModel

    bare = build_unet3d(tmp_path / "bare", image_tower=False)
    clip = build_whole_clip(tmp_path / "clip")
    base = open_tiny(bare, image_tower=str(clip))
    mean, std = (torch.tensor(PIXELS[n])[:, None, None] for n in ("image_mean", "image_std"))
    with torch.no_grad():
        whole = CLIPModel.from_pretrained(clip)
        pooled = whole.vision_model((middle(image) / 2 + 0.5 - mean) / std).pooler_output
        expected = whole.visual_projection(pooled)
    assert base.geometry.image_width == IMAGE_WIDTH
    assert torch.allclose(base.encode_image(image), expected, atol=1e-4)


def test_a_base_without_an_image_tower_says_so_and_names_the_remedy(tmp_path, image):
    base = open_tiny(build_unet3d(tmp_path / "bare", image_tower=False))
    assert base.geometry.image_width is None
    with pytest.raises(BaseInvalidError, match="no image tower") as caught:
        base.encode_image(image)
    assert "--image-tower" in caught.value.hint


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder", "scheduler", "tokenizer"])
def test_a_missing_part_is_named(copy, part, image):
    shutil.rmtree(copy / part)
    with pytest.raises(BaseInvalidError, match=part):
        use_every_part(copy, image)


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder", "image_encoder"])
def test_a_truncated_weight_file_is_named(copy, part, image):
    weights = next((copy / part).glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(BaseInvalidError, match=part):
        use_every_part(copy, image)


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_weights_that_lack_a_tensor_are_refused(copy, part, image):
    from safetensors.torch import load_file, save_file

    weights = next((copy / part).glob("*.safetensors"))
    tensors = load_file(weights)
    tensors.pop(sorted(tensors)[-1])
    save_file(tensors, weights, metadata={"format": "pt"})
    with pytest.raises(BaseInvalidError, match=part):
        use_every_part(copy, image)


def test_pickled_weights_are_not_read(copy, image):
    weights = next((copy / "unet").glob("*.safetensors"))
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(BaseInvalidError, match="unet"):
        use_every_part(copy, image)


def test_a_damaged_config_is_named(copy, image):
    (copy / "scheduler" / "scheduler_config.json").write_text("{", "utf-8")
    with pytest.raises(BaseInvalidError, match="scheduler_config"):
        use_every_part(copy, image)


def test_a_denoiser_no_family_knows_is_refused(copy):
    rewrite(copy / "model_index.json", unet=["diffusers", "UNetSpatioTemporalConditionModel"])
    with pytest.raises(BaseInvalidError, match="no family opens"):
        open_tiny(copy)


def test_a_folder_that_is_no_base_is_refused(tmp_path):
    with pytest.raises(BaseInvalidError, match="model_index"):
        open_tiny(tmp_path)


def test_a_folder_that_is_not_there_is_not_found(tmp_path):
    with pytest.raises(BaseNotFoundError):
        open_tiny(tmp_path / "nowhere")


def use_every_part(folder, image):
    """Open a base and touch all that it consists of: parts are loaded when they are first used."""
    base = open_tiny(folder)
    base.encode_text(["a dog"], {})
    base.encode_image(image)
    base.encode_video(image[:, :, None])


def test_what_a_pass_would_look_up_is_known_and_right(copy):
    base = open_tiny(copy)
    kind = type(base.denoiser)
    assert (kind.__name__, base.denoiser.dtype) == ("UNet3DConditionModel", torch.float32)
    assert base.denoiser.to(torch.bfloat16).dtype == torch.bfloat16
    with patch("diffusers.models.modeling_utils.get_parameter_dtype", side_effect=AssertionError):
        assert base.denoiser.dtype == torch.bfloat16
    calls = {type(m.processor).__call__ for m in base.denoiser.modules() if hasattr(m, "processor")}
    assert calls
    for call in calls:
        known = vars(call).pop("__signature__")
        assert known == inspect.signature(call)
        call.__signature__ = known
