"""What every family of bases must keep, on its real classes at a tiny size."""

from __future__ import annotations

import pytest
import torch

from engine.bases import FAMILIES
from engine.bases.protocol import LearnedWord, Text
from engine.blocks import recompute_blocks
from engine.errors import RecipeError
from tests.engine.bases.families import BATCH, BUILDERS, FRAMES, denoise
from tests.tiny import open_tiny


def test_every_family_has_a_tiny_builder():
    assert BUILDERS.keys() == FAMILIES.keys()


def test_a_base_is_frozen(base):
    assert not any(parameter.requires_grad for parameter in base.denoiser.parameters())


def test_every_part_of_the_denoiser_is_in_eval_mode(base):
    assert not any(module.training for module in base.denoiser.modules())


def test_dropout_is_off_while_gradients_flow(base, scene):
    latents = scene.latents.clone().requires_grad_()
    first, second = (base.denoise(latents, scene.timesteps, scene.text) for _ in range(2))
    assert torch.equal(first, second)


def test_the_prediction_has_the_latents_shape(plain, scene):
    assert plain.shape == scene.latents.shape


def test_checkpointing_leaves_the_output_as_it_is(folder, scene, plain):
    lean = open_tiny(folder)
    recompute_blocks(lean)
    latents = scene.latents.clone().requires_grad_()
    assert torch.equal(lean.denoise(latents, scene.timesteps, scene.text), plain)


def test_checkpointing_twice_is_checkpointing_once(folder):
    lean = open_tiny(folder)
    recompute_blocks(lean)
    before = {name: block.forward for name, block in lean.blocks().items()}
    recompute_blocks(lean)
    assert {name: block.forward for name, block in lean.blocks().items()} == before


@pytest.mark.parametrize("changed", range(3), ids=["latents", "timesteps", "text"])
def test_a_sample_depends_on_its_own_inputs_only(base, scene, plain, changed):
    inputs = [scene.latents.clone(), scene.timesteps.clone(), scene.text.features.clone()]
    inputs[changed][1] += 3
    with torch.no_grad():
        output = base.denoise(*inputs[:2], Text(inputs[2]))
    assert torch.equal(output[0], plain[0])
    assert not torch.allclose(output[1], plain[1], atol=1e-4)


def test_a_photo_is_a_video_of_one_frame(base, scene):
    with torch.no_grad():
        output = base.denoise(scene.latents[:, :, :1], scene.timesteps, scene.text)
    assert output.shape == scene.latents[:, :, :1].shape


def test_the_codec_gives_the_shapes_of_the_geometry(base):
    geometry = base.geometry
    size = (geometry.height_px, geometry.width_px)
    video = torch.rand(BATCH, 3, FRAMES, *size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    latents = base.encode_video(video)
    assert latents.shape == (BATCH, *base.latent_shape(FRAMES, *size)[1:])
    assert base.decode_video(latents).shape == video.shape


def test_the_codec_is_deterministic_and_a_photo_is_the_start_of_its_video(base):
    geometry = base.geometry
    shape = (BATCH, 3, FRAMES, geometry.height_px, geometry.width_px)
    video = torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    whole = base.encode_video(video)
    assert torch.equal(base.encode_video(video), whole)
    each = range(FRAMES) if whole.shape[2] == FRAMES else (0,)
    for frame in each:
        alone = base.encode_video(video[:, :, frame : frame + 1])
        assert torch.allclose(whole[:, :, frame : frame + 1], alone, atol=1e-5)


def test_decoding_with_the_least_memory_gives_nearly_the_same(base, scene):
    whole, lean = base.decode_video(scene.latents), base.decode_video(scene.latents, sliced=True)
    assert lean.device.type == "cpu"
    assert torch.allclose(whole, lean, atol=1e-5)


def test_decoded_pixels_stay_in_range(base, scene):
    pixels = base.decode_video(scene.latents * 100)
    assert pixels.min() >= -1
    assert pixels.max() <= 1


def test_text_features_have_the_shape_of_the_geometry(base):
    text = base.encode_text(["a dog", ""], {})
    assert len(text) == 2
    assert text.features.shape == (2, base.geometry.text_length, base.geometry.text_width)


def features_of(base, prompts, words=None):
    """Features of the prompts; ``words`` maps a token to its vectors and its class word."""
    found = {token: LearnedWord(*word) for token, word in (words or {}).items()}
    return base.encode_text(prompts, found).features


def starting(base, text):
    """A word that has learned nothing yet."""
    return base.start_word(text), text


def test_a_word_that_has_learned_nothing_reads_like_its_class_word(base):
    vector = base.start_word("dog")
    assert vector.shape == (1, base.geometry.text_width)
    words = {"<rex>": (vector[0], "dog"), "<rex2>": starting(base, "box")}
    written = features_of(base, ["a <rex> on a <rex2>", "a <rex2>, red"], words)
    assert torch.equal(written, features_of(base, ["a dog on a box", "a box, red"]))


def test_a_class_word_of_several_words_reads_like_them_side_by_side(base):
    words = {"<rex>": starting(base, "red dog toy")}
    written = features_of(base, ["a <rex> on a box"], words)
    assert torch.equal(written, features_of(base, ["a red dog toy on a box"]))


def test_a_word_that_has_learned_something_reads_otherwise(base):
    ones = torch.ones(base.geometry.text_width)
    written = features_of(base, ["a <rex> on a box"], {"<rex>": (ones, "dog")})
    assert not torch.allclose(written, features_of(base, ["a dog on a box"]), atol=1e-2)


def test_a_words_vector_gets_gradient(base):
    vector = base.start_word("dog")[0].clone().requires_grad_()
    features_of(base, ["a <rex> on a <rex>"], {"<rex>": (vector, "dog")}).square().sum().backward()
    assert vector.grad.abs().sum() > 0


def test_a_word_changes_no_prompt_without_it(base):
    words = {"<rex>": (torch.ones(base.geometry.text_width), "dog")}
    with_word = features_of(base, ["a dog", "a <rex>"], words)
    assert torch.allclose(with_word[:1], features_of(base, ["a dog"]), atol=1e-5)


def test_a_word_leaves_the_token_table_alone(base):
    before = base.start_word("a dog on").clone()
    features_of(base, ["a <rex>"], {"<rex>": (torch.ones(base.geometry.text_width), "dog")})
    assert torch.equal(base.start_word("a dog on"), before)


def test_rows_of_a_text_are_its_prompts_in_any_order(base):
    texts = base.encode_text(["a dog", "a red box"], {})
    rows = texts.rows([1, 0, 1])
    assert torch.equal(rows.features, texts.features[[1, 0, 1]])
    assert torch.equal(texts.rows([1]).expand(3).features, texts.features[[1, 1, 1]])


def test_a_prompt_that_just_fits_is_read_and_a_longer_one_is_refused(base):
    room = base.geometry.text_length - (2 if base.location.family.prompt_tokens is None else 1)
    base.encode_text([" ".join(["dog"] * room)], {})
    with pytest.raises(RecipeError, match=str(room + 1)):
        base.encode_text([" ".join(["dog"] * (room + 1))], {})


def test_a_class_word_without_a_token_is_refused(base):
    with pytest.raises(RecipeError):
        base.start_word("  ")


def test_images_become_vectors_each_by_itself(base):
    images = torch.rand(3, 3, 40, 48, generator=torch.Generator().manual_seed(0)) * 2 - 1
    together = base.encode_image(images)
    assert together.shape == (3, base.geometry.image_width)
    assert torch.allclose(together[1:2], base.encode_image(images[1:2]), atol=1e-5)


def test_two_openings_of_one_folder_agree(folder, scene, plain):
    assert torch.equal(denoise(open_tiny(folder), scene), plain)


def test_half_precision_stays_near_full(folder, scene, plain):
    half = open_tiny(folder, dtype=torch.bfloat16)
    output = denoise(half, scene)
    assert output.dtype == torch.bfloat16
    assert (output.float() - plain).norm() < 0.1 * plain.norm()
