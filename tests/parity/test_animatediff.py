"""The family of AnimateDiff against diffusers' own pipeline, on both sources and both versions of motion modules."""

from __future__ import annotations

import pytest
import torch

from engine.bases import locate_base, open_base
from engine.diffusion.samplers import draw_start, sample
from tests.animatediff import HEIGHT_PX, WIDTH_PX, build_image_model, build_motion_module
from tests.animatediff import open_pipeline as put_together
from tests.tiny import LATENT_CHANNELS, LATENT_SCALE

FRAMES, STEPS = 5, 6
SHAPE = (1, LATENT_CHANNELS, FRAMES, HEIGHT_PX // LATENT_SCALE, WIDTH_PX // LATENT_SCALE)
PROMPT, NEGATIVE = "a dog walking on the beach", "red box"


@pytest.fixture(scope="module")
def image_model(tmp_path_factory):
    return build_image_model(tmp_path_factory.mktemp("image") / "sd")


@pytest.fixture(scope="module", params=[True, False], ids=["v2", "v3"])
def pipeline(request, image_model, tmp_path_factory):
    module = tmp_path_factory.mktemp("motion") / "module"
    return put_together(image_model, build_motion_module(module, mid_block=request.param))


@pytest.fixture(scope="module", params=["two sources", "one folder"])
def base(request, pipeline, image_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("one") / "base"
    if request.param == "one folder":
        pipeline.save_pretrained(folder)
        location = locate_base(str(folder))
    else:
        pipeline.motion_adapter.save_pretrained(folder)
        location = locate_base(str(image_model), motion_module=str(folder))
    return open_base(location, device=torch.device("cpu"), dtype=torch.float32)


def our_latents(base, sampler, guidance, noise):
    prompts = [NEGATIVE, PROMPT] if guidance != 1.0 else [PROMPT]
    with torch.no_grad():
        text = base.encode_text(prompts, {})
        *_, latents = sample(
            lambda noisy, times: base.denoise(noisy, times, text),
            base.samplers[sampler](STEPS),
            noise,
            guidance=guidance,
        )
    return latents


def their_latents(pipeline, sampler, guidance, noise):
    from diffusers import DDIMScheduler, DPMSolverMultistepScheduler

    kind, settings = {
        "ddim": (DDIMScheduler, {}),
        "dpm++": (
            DPMSolverMultistepScheduler,
            {"algorithm_type": "dpmsolver++", "solver_order": 2},
        ),
    }[sampler]
    pipeline.scheduler = kind.from_config(pipeline.scheduler.config, **settings)
    return pipeline(
        PROMPT,
        negative_prompt=NEGATIVE,
        num_frames=FRAMES,
        height=HEIGHT_PX,
        width=WIDTH_PX,
        num_inference_steps=STEPS,
        guidance_scale=guidance,
        latents=noise.clone(),
        output_type="latent",
    ).frames


@pytest.mark.parametrize("guidance", [1.0, 7.5])
@pytest.mark.parametrize("sampler", ["ddim", "dpm++"])
def test_latents_are_the_pipelines(base, pipeline, sampler, guidance):
    noise = draw_start(SHAPE, 0)
    theirs = their_latents(pipeline, sampler, guidance, noise)
    assert theirs.std() > 0.1
    assert (our_latents(base, sampler, guidance, noise) - theirs).abs().max() < 1e-4


def test_decoded_frames_are_the_pipelines(base, pipeline):
    latents = draw_start((2, *SHAPE[1:]), 1)
    with torch.no_grad():
        theirs = pipeline.decode_latents(latents)
    assert torch.allclose(base.decode_video(latents), theirs.clamp(-1, 1), atol=1e-5)
