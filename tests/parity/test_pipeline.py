"""The engine against diffusers' own text-to-video pipeline, opened on the same folder."""

from __future__ import annotations

import json
import logging

import pytest
import torch

from engine.diffusion.samplers import draw_start, sample
from tests.tiny import (
    FRAMES,
    HEIGHT_PX,
    LATENT_CHANNELS,
    LATENT_SCALE,
    WIDTH_PX,
    build_unet3d,
    open_tiny,
)

SIZE = HEIGHT_PX // LATENT_SCALE, WIDTH_PX // LATENT_SCALE
SHAPE = (1, LATENT_CHANNELS, FRAMES, *SIZE)
STEPS = 6
PROMPT, NEGATIVE = "a dog sweeping on green grass", "red box"
KINDS = {
    "new": {},
    "old": {"old_layout": True},
    "no offset": {"steps_offset": 0},
    "velocity": {"prediction": "v_prediction"},
    "velocity, zero-terminal SNR": {"prediction": "v_prediction", "zero_snr": True},
}


@pytest.fixture(scope="module", params=list(KINDS.values()), ids=list(KINDS))
def folder(request, tmp_path_factory):
    return build_unet3d(tmp_path_factory.mktemp("parity") / "base", **request.param)


@pytest.fixture(scope="module")
def base(folder):
    return open_tiny(folder)


@pytest.fixture(scope="module")
def pipeline(folder):
    return open_pipeline(folder)


def open_pipeline(folder):
    """diffusers' pipeline; from a module of its own, for the public name is on its way out."""
    from diffusers.utils import logging as diffusers_logging

    diffusers_logging.set_verbosity(logging.ERROR)
    from diffusers.pipelines.deprecated.text_to_video_synthesis import (
        pipeline_text_to_video_synth as synthesis,
    )

    pipeline = synthesis.TextToVideoSDPipeline.from_pretrained(folder, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def their_latents(pipeline, guidance, noise, **settings):
    made = pipeline(
        PROMPT,
        num_frames=FRAMES,
        num_inference_steps=STEPS,
        guidance_scale=guidance,
        latents=noise.clone(),
        output_type="latent",
        **settings,
    )
    return made.frames


def our_latents(base, guidance, noise, negative=""):
    prompts = [negative, PROMPT] if guidance != 1.0 else [PROMPT]
    with torch.no_grad():
        text = base.encode_text(prompts, {})
        *_, latents = sample(
            lambda noisy, timesteps: base.denoise(noisy, timesteps, text),
            base.samplers["ddim"](STEPS),
            noise,
            guidance=guidance,
        )
    return latents


@pytest.mark.parametrize("guidance", [1.0, 7.5])
def test_ddim_gives_the_pipelines_latents(base, pipeline, guidance):
    noise = draw_start(SHAPE, 0)
    ours, theirs = our_latents(base, guidance, noise), their_latents(pipeline, guidance, noise)
    assert theirs.std() > 0.1
    assert (ours - theirs).abs().max() < 1e-4


def test_text_features_are_the_pipelines(base, pipeline):
    with torch.no_grad():
        cond, uncond = pipeline.encode_prompt(PROMPT, "cpu", 1, True)
    ours = base.encode_text(["", PROMPT], {}).features
    assert torch.allclose(ours, torch.cat([uncond, cond]), atol=1e-6)


def test_decoded_frames_are_the_pipelines(base, pipeline):
    latents = draw_start((2, *SHAPE[1:]), 1)
    with torch.no_grad():
        theirs = pipeline.decode_latents(latents)
    assert torch.allclose(base.decode_video(latents), theirs.clamp(-1, 1), atol=1e-5)


def test_encoded_frames_are_the_autoencoders_scaled_mean(base, pipeline):
    video = (
        torch.rand(2, 3, 5, HEIGHT_PX, WIDTH_PX, generator=torch.Generator().manual_seed(0)) * 2 - 1
    )
    frames = video.transpose(1, 2).flatten(0, 1)
    with torch.no_grad():
        mode = pipeline.vae.encode(frames).latent_dist.mode() * pipeline.vae.config.scaling_factor
    theirs = mode.unflatten(0, (2, 5)).transpose(1, 2)
    assert torch.allclose(base.encode_video(video), theirs, atol=1e-5)


def test_a_negative_prompt_is_the_pipelines(tiny_base, tiny_folder):
    noise, pipeline = draw_start(SHAPE, 0), open_pipeline(tiny_folder)
    theirs = their_latents(pipeline, 7.5, noise, negative_prompt=NEGATIVE)
    assert (our_latents(tiny_base, 7.5, noise, NEGATIVE) - theirs).abs().max() < 1e-4


def test_another_size_and_number_of_frames_are_the_pipelines(tiny_base, tiny_folder):
    noise = draw_start((1, LATENT_CHANNELS, 7, SIZE[0], 2 * SIZE[1]), 0)
    theirs = open_pipeline(tiny_folder)(
        PROMPT,
        num_frames=7,
        height=HEIGHT_PX,
        width=2 * WIDTH_PX,
        num_inference_steps=STEPS,
        guidance_scale=7.5,
        latents=noise.clone(),
        output_type="latent",
    ).frames
    assert (our_latents(tiny_base, 7.5, noise) - theirs).abs().max() < 1e-4


def test_a_text_tower_that_masks_padding_reads_as_in_the_pipeline(tmp_path):
    folder = build_unet3d(tmp_path / "base")
    config = folder / "text_encoder" / "config.json"
    facts = json.loads(config.read_text("utf-8")) | {"use_attention_mask": True}
    config.write_text(json.dumps(facts), "utf-8")
    prompts = [PROMPT, "a dog! on grass!"]
    with torch.no_grad():
        theirs = torch.cat(
            [open_pipeline(folder).encode_prompt(p, "cpu", 1, False)[0] for p in prompts]
        )
    assert torch.allclose(open_tiny(folder).encode_text(prompts, {}).features, theirs, atol=1e-6)
