"""The engine against diffusers' own Wan pipeline, opened on the same folder."""

from __future__ import annotations

import pytest
import torch

from engine.diffusion.samplers import draw_start, sample
from tests.tiny import open_tiny, quiet_draws
from tests.tiny_wan import EULER, FRAMES, HEIGHT_PX, UNIPC, WIDTH_PX, build_wan

PROMPT, NEGATIVE = "a  dog walking on the &amp; beach ", "red"
STEPS = 6


@pytest.fixture(scope="module", params=["t2v", "ti2v", "a14b"])
def folder(request, tmp_path_factory):
    return build_wan(tmp_path_factory.mktemp("parity") / request.param, request.param)


@pytest.fixture(scope="module")
def base(folder):
    return open_tiny(folder)


@pytest.fixture(scope="module")
def pipeline(folder):
    return open_pipeline(folder)


def open_pipeline(folder):
    from diffusers import WanPipeline

    with quiet_draws(0):
        pipeline = WanPipeline.from_pretrained(folder, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def size_of(base):
    """Height and width, of which neither is the other."""
    scale = base.geometry.latent_scale // 8
    return scale * HEIGHT_PX, scale * WIDTH_PX


def latents_of_both(base, pipeline, sampler, *, guidance=5.0, low=None, shift=None, steps=STEPS):
    height_px, width_px = size_of(base)
    noise = draw_start(base.latent_shape(FRAMES, height_px, width_px), 0)
    pipeline.scheduler = base.samplers[sampler](steps, shift=shift)
    theirs = pipeline(
        PROMPT,
        negative_prompt=NEGATIVE,
        height=height_px,
        width=width_px,
        num_frames=FRAMES,
        num_inference_steps=steps,
        guidance_scale=guidance,
        guidance_scale_2=low,
        latents=noise.clone(),
        output_type="latent",
    ).frames
    prompts = [NEGATIVE, PROMPT] if guidance != 1.0 else [PROMPT]
    scale = guidance if low is None else lambda _, time: guidance if time >= 875 else low
    with torch.no_grad():
        text = base.encode_text(prompts, {})
        *_, ours = sample(
            lambda noisy, times: base.denoise(noisy, times, text),
            base.samplers[sampler](steps, shift=shift),
            noise,
            guidance=scale,
        )
    return ours, theirs


def assert_same(ours, theirs):
    assert theirs.std() > 0.1
    assert (ours - theirs).abs().max() < 1e-4


@pytest.mark.parametrize("guidance", [1.0, 5.0])
@pytest.mark.parametrize("sampler", ["unipc", "euler"])
def test_latents_are_the_pipelines(base, pipeline, sampler, guidance):
    assert_same(*latents_of_both(base, pipeline, sampler, guidance=guidance))


@pytest.mark.parametrize("sampler", ["unipc", "euler"])
def test_a_shift_that_is_set_is_the_pipelines(base, pipeline, sampler):
    """At a large shift some of UniPC's whole timesteps are equal."""
    assert_same(*latents_of_both(base, pipeline, sampler, shift=12.0, steps=30))


@pytest.mark.parametrize("folder", ["a14b"], indirect=True)
def test_guidance_of_each_expert_is_the_pipelines(base, pipeline):
    both = latents_of_both(base, pipeline, "unipc", guidance=4.0, low=3.0)
    assert_same(*both)
    alone, _ = latents_of_both(base, pipeline, "unipc", guidance=4.0)
    assert (both[0] - alone).abs().max() > 1e-3


@pytest.mark.parametrize(("config", "name"), [(UNIPC, "unipc"), (EULER, "euler")])
def test_the_folders_scheduler_is_the_default(tmp_path, config, name):
    base = open_tiny(build_wan(tmp_path / "base", scheduler=config, image_tower=False))
    assert base.location.card.generate_defaults["sampler"] == name
    made, ours = open_pipeline(tmp_path / "base").scheduler, base.samplers[name](STEPS)
    made.set_timesteps(STEPS)
    assert type(made) is type(ours)
    assert torch.equal(made.sigmas, ours.sigmas)


def test_text_features_are_the_pipelines(base, pipeline):
    with torch.no_grad():
        cond, uncond = pipeline.encode_prompt(PROMPT, NEGATIVE, max_sequence_length=512)
    ours = base.encode_text([NEGATIVE, PROMPT], {}).features
    assert torch.allclose(ours, torch.cat([uncond, cond]), atol=1e-6)


def test_decoded_frames_are_the_pipelines(base, pipeline):
    height_px, width_px = size_of(base)
    settings = {"height": height_px, "width": width_px, "num_frames": FRAMES}
    noise = draw_start(base.latent_shape(FRAMES, height_px, width_px), 1)
    made = [
        pipeline(
            PROMPT,
            num_inference_steps=1,
            guidance_scale=1.0,
            latents=noise.clone(),
            output_type=kind,
            **settings,
        ).frames
        for kind in ("latent", "pt")
    ]
    ours = base.decode_video(made[0]) / 2 + 0.5
    assert torch.allclose(ours, made[1].transpose(1, 2), atol=1e-5)
