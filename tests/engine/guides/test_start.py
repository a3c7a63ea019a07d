"""What sampling begins with: clips and photos under noise, inverted clips, refined noise; on every family."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from engine.bases.pixels import to_pixels
from engine.diffusion.path import DiffusionPath, FlowPath
from engine.diffusion.samplers import diffusion_inverter, draw_start, flow_samplers, noise_to
from engine.errors import RecipeError
from engine.guides.inputs import Guides
from engine.guides.start import (
    butterworth,
    encode_frames,
    frames_of,
    invert,
    last_time_with_signal,
    refine_noise,
)
from engine.media.photos.camera import film_photo
from engine.recipe import GenerateRecipe, build_recipe
from engine.sources import Inversion, Source
from tests.engine.diffusion.test_samplers import CONFIG, ZERO_SNR, alpha_bar
from tests.engine.samples import clip, photo

CLIP, PHOTO, NOTHING = clip(0, frames=5), photo(1), Guides()
PLAIN = {"prompt": "a dog", "frames": 5, "height_px": 32, "width_px": 32, "steps": 4}


def recipe_of(loaded, **changes):
    sampler = next(iter(loaded._base.samplers))
    return build_recipe(GenerateRecipe, {**PLAIN, "sampler": sampler, **changes})


def video(loaded, guides=NOTHING, **changes):
    with loaded.equipped([], guides=guides) as generator:
        return generator.sample(recipe_of(loaded, **changes))


def edit(loaded, noise, **changes):
    source = Source(clip=CLIP.digest, noise=noise)
    return video(loaded, Guides(source=CLIP), source=source, **changes)


def test_all_of_the_noise_is_a_plain_video_bit_for_bit(loaded):
    assert np.array_equal(edit(loaded, 1.0), video(loaded))


def test_none_of_the_noise_is_the_clip_through_the_autoencoder(loaded):
    base = loaded._base
    latents = encode_frames(base, frames_of(CLIP, recipe_of(loaded)))
    assert np.array_equal(edit(loaded, 0.0), to_pixels(base.decode_video(latents)[0]))


@pytest.mark.parametrize("place", [0, 1])
def test_a_video_runs_the_last_steps_alone_from_the_clip_under_their_noise(
    loaded, place, monkeypatch
):
    base, seen = loaded._base, []
    sampler = list(base.samplers)[place]
    denoise = base.denoise

    def watched(latents, times, text):
        seen.append((latents[:1].clone(), float(times[0])))
        return denoise(latents, times, text)

    monkeypatch.setattr(base, "denoise", watched)
    edit(loaded, 0.5, seed=3, sampler=sampler)
    scheduler = base.samplers[sampler](4)
    assert [time for _, time in seen] == [float(time) for time in scheduler.timesteps[2:]]
    clean = encode_frames(base, frames_of(CLIP, recipe_of(loaded)))
    noise = draw_start(tuple(clean.shape), 3)
    expected = base.path.mix(clean, noise, scheduler.timesteps[2:3])
    if isinstance(base.path, FlowPath):  # UniPC's times are whole numbers, its σ are not
        sigma = scheduler.sigmas[2]
        expected = (1 - sigma) * clean + sigma * noise
    torch.testing.assert_close(seen[0][0], expected, atol=1e-5, rtol=1e-5)


def test_a_little_noise_is_one_step_at_least():
    assert [Source(photo="0" * 64, noise=n).count_steps(20) for n in (0, 0.01, 0.5, 1)] == [
        *(0, 1, 10, 20)
    ]


def test_a_source_is_a_clip_or_a_photo_and_takes_no_refining():
    for wrong in ({"noise": 0.5}, {"clip": "0" * 64, "photo": "1" * 64, "noise": 0.5}):
        with pytest.raises(RecipeError, match="either a clip or a photo"):
            build_recipe(Source, wrong)
    with pytest.raises(RecipeError, match="refine"):
        build_recipe(
            GenerateRecipe, {**PLAIN, "refine": 1, "source": {"photo": "0" * 64, "noise": 1.0}}
        )


def test_another_clip_than_the_recipes_is_refused(loaded):
    other = Source(clip="f" * 64, noise=0.5)
    with pytest.raises(RecipeError, match=r"source is sha256:ffffffffffff, and sha256:0{12} was"):
        video(loaded, Guides(source=CLIP), source=other)
    with pytest.raises(RecipeError, match="and nothing was given"):
        video(loaded, source=other)
    with pytest.raises(RecipeError, match=r"inversion is nothing"):
        video(loaded, Guides(inversion=CLIP))


@pytest.mark.parametrize("camera", ["still", "in", "out", "left", "right", "up", "down"])
def test_a_camera_goes_evenly_over_a_photo(camera):
    ramp = np.zeros((64, 64, 3), np.uint8)
    ramp[..., 0], ramp[..., 1] = np.arange(64) * 4, np.arange(64)[:, None] * 4
    filmed = film_photo(replace(PHOTO, pixels=ramp), camera, 5, 32, 32).astype(float)
    assert filmed.shape == (5, 32, 32, 3)
    across, down = filmed[..., 0].mean(axis=(1, 2)), filmed[..., 1].mean(axis=(1, 2))
    moved = {"left": (-16, 0), "right": (16, 0), "up": (0, -16), "down": (0, 16)}.get(
        camera, (0, 0)
    )
    steps = np.stack([np.diff(across), np.diff(down)], axis=1)
    np.testing.assert_allclose(steps, np.tile(np.array(moved) * 4 / 4, (4, 1)), atol=0.5)
    wide = filmed[:, 16, -1, 0] - filmed[:, 16, 0, 0]
    ratio = {"in": 0.75, "out": 1 / 0.75}.get(camera, 1.0)
    assert wide[-1] / wide[0] == pytest.approx(ratio, abs=0.03)


def test_a_filmed_photo_is_made_into_a_video(loaded):
    source = Source(photo=PHOTO.digest, camera="in", noise=0.0)
    made = video(loaded, Guides(source=PHOTO), source=source)
    frames = film_photo(PHOTO, "in", 5, 32, 32)
    base = loaded._base
    assert np.array_equal(made, to_pixels(base.decode_video(encode_frames(base, frames))[0]))


def test_inversion_is_that_of_diffusers():
    from diffusers import DDIMInverseScheduler

    theirs = DDIMInverseScheduler.from_config({**ZERO_SNR})
    theirs.set_timesteps(8)
    x = clean = draw_start((1, 2, 3, 4, 4), 0)
    for time in theirs.timesteps:
        x = theirs.step(0.3 * x + time / 5000, time, x).prev_sample
    ours = invert(
        lambda latents, times: 0.3 * latents + times / 5000, diffusion_inverter(ZERO_SNR)(8), clean
    )
    torch.testing.assert_close(ours, x / x.std(), atol=1e-6, rtol=1e-6)


def test_a_video_goes_from_its_inverted_noise_back_to_where_it_came_from(loaded):
    base = loaded._base
    text = base.encode_text(["a dog"], {})
    clean = 0.1 * draw_start(base.latent_shape(5, 32, 32), 1)
    sampler = {"ddim": "ddim", "unipc": "euler"}[next(iter(base.samplers))]

    def denoise(latents, times):
        return 1e-3 * base.denoise(latents, times, text).float()

    back, forth = base.inverter(20), base.samplers[sampler](20)
    x = clean
    for time in back.timesteps:
        x = back.step(denoise(x, time[None]), time, x, return_dict=False)[0]
    for time in forth.timesteps:
        x = forth.step(denoise(x, time[None]), time, x, return_dict=False)[0]
    assert (x - clean).norm() < 0.05 * clean.norm()


def test_no_share_of_an_inverted_clip_is_a_plain_video(loaded):
    none, some = (
        video(
            loaded,
            Guides(inversion=CLIP),
            inversion=Inversion(clip=CLIP.digest, share=share, prompt="a dog"),
        )
        for share in (0.0, 0.5)
    )
    assert np.array_equal(none, video(loaded))
    assert not np.array_equal(some, none)


def test_the_filter_is_that_of_freeinit():
    from diffusers.pipelines.free_init_utils import FreeInitMixin

    theirs = FreeInitMixin()._get_free_init_freq_filter(
        (1, 1, 8, 6, 10), "cpu", "butterworth", 4, 0.25, 0.25
    )[0, 0]
    torch.testing.assert_close(torch.fft.fftshift(butterworth((8, 6, 10))), theirs)


def test_refined_noise_has_slow_parts_of_the_video_and_quick_ones_of_its_own():
    path = DiffusionPath(CONFIG)
    still = torch.ones(1, 1, 8, 8, 8)
    noise, drawn = draw_start(still.shape, 1), None
    refined = refine_noise(path, still, noise, 0, 1)
    signal = alpha_bar(zero_snr=False)[999] ** 0.5
    kept = signal + (1 - signal**2) ** 0.5 * float(noise.mean())
    assert float(refined.mean()) == pytest.approx(kept, abs=1e-5)
    other = refine_noise(path, still, noise, 0, 2)
    quick = torch.fft.fftn(refined - other, dim=(-3, -2, -1))[..., 4, 4, 4].abs()
    assert quick > 1
    assert torch.equal(refined, refine_noise(path, still, noise, 0, 1)), drawn


@pytest.mark.parametrize("path", [DiffusionPath(CONFIG), DiffusionPath(ZERO_SNR), FlowPath()])
def test_the_last_time_leaves_as_much_as_stable_diffusions(path):
    time = last_time_with_signal(path)
    one = torch.ones(1, 1, 1, 1, 1)
    left = [float(path.mix(one, 0 * one, torch.tensor([t]))) for t in (time, time + 1) if t < 1000]
    assert left[0] >= 0.068
    assert left[1:] == [] or left[1] < 0.068


def test_each_round_of_refining_samples_anew(loaded, monkeypatch):
    calls = []
    denoise = loaded._base.denoise
    monkeypatch.setattr(
        loaded._base,
        "denoise",
        lambda *given, **named: (calls.append(1), denoise(*given, **named))[1],
    )
    once, twice = (video(loaded, refine=rounds) for rounds in (0, 2))
    assert len(calls) == 4 + 12
    assert not np.array_equal(once, twice)
    assert recipe_of(loaded, refine=2).count_steps() == 12


def test_unipc_mixes_as_flow_matching_does():
    scheduler = flow_samplers({"flow_shift": 3.0})["unipc"](5)
    clean, noise = draw_start((1, 2, 3, 4, 4), 0), draw_start((1, 2, 3, 4, 4), 1)
    sigma = scheduler.sigmas[2]
    mixed = noise_to(scheduler, clean, noise, 2)
    torch.testing.assert_close(mixed, (1 - sigma) * clean + sigma * noise)
