"""The sampling loop against NumPy written from the DDIM paper, and its laws."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.diffusion.path import shift_time
from engine.diffusion.samplers import (
    diffusion_inverter,
    diffusion_samplers,
    draw_start,
    flow_inverter,
    flow_samplers,
    flow_shift,
    noise_to,
    sample,
)
from engine.errors import RecipeError

CONFIG = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "epsilon",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
    "timestep_spacing": "leading",
}
ZERO_SNR = CONFIG | {
    "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": True,
    "timestep_spacing": "trailing",
}
SHAPE = (1, 2, 3, 4, 4)
STEPS = 8


def alpha_bar(zero_snr):
    signal = np.sqrt(np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2))
    if zero_snr:
        signal = (signal - signal[-1]) * signal[0] / (signal[0] - signal[-1])
    return signal**2


def ddim(x, network, alphas, timesteps, velocity):
    """Equation 12 of arXiv 2010.02502 with σ = 0, the prediction turned into x̂ and ε̂ first."""
    for place, t in enumerate(timesteps):
        a = alphas[t]
        later = alphas[timesteps[place + 1]] if place + 1 < len(timesteps) else alphas[0]
        out = network(x, t)
        if velocity:
            clean, noise = a**0.5 * x - (1 - a) ** 0.5 * out, a**0.5 * out + (1 - a) ** 0.5 * x
        else:
            clean, noise = (x - (1 - a) ** 0.5 * out) / a**0.5, out
        x = later**0.5 * clean + (1 - later) ** 0.5 * noise
    return x


def network(x, t):
    """A smooth stand-in for the denoiser that depends on both of its inputs."""
    return 0.4 * x + 0.2 * (t / 1000.0)


def run(denoise, config, *, sampler="ddim", steps=STEPS, guidance=1.0, seed=0):
    scheduler = diffusion_samplers(config)[sampler](steps)
    latents = sample(denoise, scheduler, draw_start(SHAPE, seed), guidance=guidance)
    return list(latents)


def ours(x, timesteps):
    return network(x, timesteps[:, None, None, None, None].to(x.dtype))


def test_ddim_of_an_epsilon_base_is_the_papers_step():
    timesteps = [1000 // STEPS * place + 1 for place in reversed(range(STEPS))]
    expected = ddim(draw_start(SHAPE, 0).numpy(), network, alpha_bar(False), timesteps, False)
    np.testing.assert_allclose(run(ours, CONFIG)[-1].numpy(), expected, atol=1e-4)


def test_ddim_of_a_velocity_base_with_zero_terminal_snr_is_the_papers_step():
    timesteps = [round(1000 - 1000 / STEPS * place) - 1 for place in range(STEPS)]
    expected = ddim(draw_start(SHAPE, 0).numpy(), network, alpha_bar(True), timesteps, True)
    np.testing.assert_allclose(run(ours, ZERO_SNR)[-1].numpy(), expected, atol=1e-4)


@pytest.mark.parametrize("sampler", ["ddim", "dpm++"])
@pytest.mark.parametrize("config", [CONFIG, ZERO_SNR], ids=["epsilon", "velocity"])
def test_a_denoiser_that_knows_the_answer_leads_there(sampler, config):
    """Where the data is one point the exact prediction is known, and a sampler must end on it."""
    answer = draw_start(SHAPE, 9)
    velocity = config["prediction_type"] == "v_prediction"
    alphas = torch.from_numpy(alpha_bar(velocity)).float()

    def exact(x, timesteps):
        a = alphas[timesteps.long()][:, None, None, None, None]
        if velocity:
            return (a.sqrt() * x - answer) / (1 - a).sqrt()
        return (x - a.sqrt() * answer) / (1 - a).sqrt()

    end = run(exact, config, sampler=sampler, steps=20)[-1]
    assert (end - answer).abs().mean() < 0.05


@pytest.mark.parametrize("sampler", ["ddim", "dpm++"])
@pytest.mark.parametrize("config", [CONFIG, ZERO_SNR], ids=["epsilon", "velocity"])
def test_every_step_is_yielded_and_finite(sampler, config):
    latents = run(ours, config, sampler=sampler)
    assert len(latents) == STEPS
    assert all(value.isfinite().all() and value.shape == SHAPE for value in latents)


@pytest.mark.parametrize("sampler", ["ddim", "dpm++"])
def test_the_network_is_called_once_a_step_with_both_halves(sampler):
    seen = []

    def watch(x, timesteps):
        seen.append((x.shape[0], timesteps.shape[0], torch.equal(*x.chunk(2))))
        return ours(x, timesteps)

    run(watch, CONFIG, sampler=sampler, guidance=9.0)
    assert seen == [(2, 2, True)] * STEPS


def test_without_guidance_the_network_gets_one_half():
    seen = []

    def watch(x, timesteps):
        seen.append(x.shape[0])
        return ours(x, timesteps)

    run(watch, CONFIG)
    assert seen == [1] * STEPS


def test_a_step_without_guidance_calls_the_network_for_one_half():
    seen = []

    def watch(x, timesteps):
        seen.append(x.shape[0])
        return ours(x, timesteps)

    run(watch, CONFIG, guidance=lambda step, time: 4.0 if 2 <= step < 5 else 1.0)
    assert seen == [1] * 2 + [2] * 3 + [1] * (STEPS - 5)


def test_guidance_is_asked_for_each_step_and_its_time():
    asked = []
    run(ours, CONFIG, guidance=lambda step, time: asked.append((step, time)) or 1.0)
    assert asked == [(step, 1000 // STEPS * (STEPS - 1 - step) + 1) for step in range(STEPS)]


def test_the_unconditional_half_comes_first():
    def halves(x, timesteps):
        return torch.cat([torch.zeros_like(x[:1]), ours(x[:1], timesteps[:1])])

    def cond_only(x, timesteps):
        return 3.0 * ours(x, timesteps)

    guided, scaled = run(halves, CONFIG, guidance=3.0)[-1], run(cond_only, CONFIG)[-1]
    assert torch.allclose(guided, scaled, atol=1e-5)


def test_half_precision_predictions_are_mixed_and_stepped_in_fp32():
    def half(x, timesteps):
        return ours(x, timesteps).to(torch.bfloat16)

    assert run(half, CONFIG)[-1].dtype == torch.float32


def test_a_seed_means_the_same_noise_every_time():
    assert torch.equal(draw_start(SHAPE, 5), draw_start(SHAPE, 5))
    assert not torch.equal(draw_start(SHAPE, 5), draw_start(SHAPE, 6))


def test_drawing_the_start_leaves_torchs_own_generator_alone():
    before = torch.random.get_rng_state()
    draw_start(SHAPE, 5)
    assert torch.equal(before, torch.random.get_rng_state())


def test_more_steps_than_the_base_has_timesteps_are_refused():
    with pytest.raises(RecipeError, match="1001"):
        run(ours, CONFIG, steps=1001)


def test_latents_are_never_clipped_unless_the_config_says_so():
    assert not diffusion_samplers({"num_train_timesteps": 1000})["ddim"](5).config.clip_sample


def test_an_offset_beyond_the_last_timestep_is_refused():
    config = {"num_train_timesteps": 1000, "steps_offset": 1, "timestep_spacing": "leading"}
    with pytest.raises(RecipeError, match="steps is 1000"):
        diffusion_samplers(config)["ddim"](1000)


@pytest.mark.parametrize("sampler", ["ddim", "dpm++"])
def test_epsilon_is_never_asked_for_at_pure_noise(sampler):
    """There ``x_0 = (x - √(1-ᾱ)·ε) / √ᾱ`` divides by zero."""
    config = ZERO_SNR | {"prediction_type": "epsilon"}
    with pytest.raises(RecipeError, match="pure noise"):
        diffusion_samplers(config)[sampler](5)
    leading = config | {"timestep_spacing": "leading", "steps_offset": 1}
    assert all(value.isfinite().all() for value in run(ours, leading, sampler=sampler))


class Euler:
    """A scheduler of flow matching, which has neither a first noise of its own nor a scale of inputs."""

    timesteps = torch.tensor([1000.0, 500.0])

    def step(self, prediction, timestep, latents, return_dict):
        return (latents - 0.5 * prediction,)


def test_a_scheduler_of_flow_matching_is_sampled_with_too():
    """The velocity ``noise - answer`` is constant along the path, so that two steps end on the answer."""
    answer, noise = draw_start(SHAPE, 9), draw_start(SHAPE, 0)
    *_, end = sample(lambda x, _: noise - answer, Euler(), noise, guidance=1.0)
    assert torch.allclose(end, answer, atol=1e-6)


def test_the_solver_of_second_order_is_of_second_order():
    """Data of one Gaussian: the noise in x is known exactly, and so is where the path from x ends.

    Before its last step, which is of first order and goes to no noise at all, twice the steps leave a quarter of the
    error; DDIM, the solver of first order, leaves half of it.
    """
    config = CONFIG | {"timestep_spacing": "trailing", "steps_offset": 0}
    alphas, spread = torch.from_numpy(alpha_bar(zero_snr=False)), 0.6

    def scale(timestep):
        a = alphas[int(timestep)]
        return (a * spread**2 + 1 - a).sqrt().item()

    def exact(x, timesteps):
        a = alphas[timesteps.long()].float()[:, None, None, None, None]
        return (1 - a).sqrt() * x / (a * spread**2 + 1 - a)

    def error(sampler, steps):
        """At timestep 199, which 5, 10, 20 … steps all stop at."""
        scheduler = diffusion_samplers(config)[sampler](steps)
        times, start = scheduler.timesteps.tolist(), draw_start(SHAPE, 0)
        latents = list(sample(exact, scheduler, start, guidance=1.0))[times.index(199) - 1]
        return (latents - start * scale(199) / scale(999)).abs().mean().item()

    errors = {sampler: [error(sampler, n) for n in (20, 40)] for sampler in ("ddim", "dpm++")}
    assert errors["ddim"][0] / errors["ddim"][1] == pytest.approx(2, abs=0.4)
    assert errors["dpm++"][0] / errors["dpm++"][1] == pytest.approx(4, abs=1.2)
    assert errors["dpm++"][0] < errors["ddim"][0] / 3


class Scaled:
    """A scheduler whose noise is three times as wide, and whose network sees half of each latent."""

    timesteps = torch.tensor([20, 10])
    init_noise_sigma = 3.0

    def scale_model_input(self, latents, timestep):
        return latents / 2 + timestep

    def step(self, prediction, timestep, latents, return_dict):
        assert return_dict is False
        return (latents - prediction * timestep,)


def test_noise_and_inputs_have_the_schedulers_own_scale():
    """Where it begins with noise; latents of a later step have it already."""
    noise = draw_start(SHAPE, 0)
    first = 3 * noise - 20 * (1.5 * noise + 20)
    later = [first - 10 * (first / 2 + 10), noise - 10 * (noise / 2 + 10)]
    steps = list(sample(lambda x, _: x, Scaled(), noise, guidance=1.0))
    torch.testing.assert_close(steps, [first, later[0]])
    torch.testing.assert_close(
        list(sample(lambda x, _: x, Scaled(), noise, guidance=1.0, first=1)), [later[1]]
    )


UNIPC = {"_class_name": "UniPCMultistepScheduler", "flow_shift": 3.0}
EULER = {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0}
SAMPLERS = {"ddim": diffusion_samplers(CONFIG), "euler": flow_samplers(EULER)}


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("first", [1, 5])
def test_sampling_goes_on_from_a_later_step_as_if_it_had_come_there(name, first):
    make, start = SAMPLERS[name][name], draw_start(SHAPE, 0)
    whole = list(sample(ours, make(STEPS), start, guidance=1.0))
    rest = sample(ours, make(STEPS), whole[first - 1], guidance=1.0, first=first)
    torch.testing.assert_close(list(rest), whole[first:], rtol=0, atol=0)


def test_clean_latents_get_the_noise_of_the_step_that_sampling_goes_on_from():
    clean, noise = draw_start(SHAPE, 1), draw_start(SHAPE, 2)
    scheduler = SAMPLERS["ddim"]["ddim"](STEPS)
    a = alpha_bar(False)[1000 // STEPS * (STEPS - 1 - 3) + 1]
    expected = a**0.5 * clean + (1 - a) ** 0.5 * noise
    torch.testing.assert_close(noise_to(scheduler, clean, noise, 3), expected)
    scheduler = SAMPLERS["euler"]["euler"](STEPS)
    sigma = float(scheduler.sigmas[3])
    expected = clean + sigma * (noise - clean)
    torch.testing.assert_close(noise_to(scheduler, clean, noise, 3), expected)
    whole = noise_to(SAMPLERS["euler"]["euler"](STEPS), clean, noise, 0)
    torch.testing.assert_close(whole, noise)


@pytest.mark.parametrize("config", [UNIPC, EULER], ids=["unipc", "euler"])
@pytest.mark.parametrize("name", ["unipc", "euler"])
def test_the_shift_is_the_configs_whoever_it_is_of_or_the_one_that_is_told(config, name):
    """σ → s·σ/(1 + (s - 1)·σ) of the evenly spaced steps; Euler's scheduler in diffusers shifts the last ones twice."""
    make = flow_samplers(config)[name]
    even = make(STEPS, shift=1.0).sigmas
    assert flow_shift(config) == 3.0
    for scheduler, shift in ((make(STEPS), 3.0), (make(STEPS, shift=7.0), 7.0)):
        expected = [shift_time(sigma, shift) for sigma in even.tolist()]
        np.testing.assert_allclose(scheduler.sigmas[:6], expected[:6], atol=0.01)
        times = [1000 * sigma for sigma in expected[:-1]]
        np.testing.assert_allclose(scheduler.timesteps[:6], times[:6], atol=10)
    assert even[0] == pytest.approx(1.0, abs=1e-3)
    assert even[-1] == 0.0
    np.testing.assert_allclose(even[:-1].diff(), -1 / STEPS, atol=0.02)


@pytest.mark.parametrize("config", [{}, {"shift": None}, {"flow_shift": None}])
def test_a_config_without_a_shift_shifts_nothing(config):
    assert flow_shift(config) == 1.0
    assert flow_shift({"_class_name": "FlowMatchEulerDiscreteScheduler", "flow_shift": 9.0}) == 1.0


def test_a_flow_has_as_many_timesteps_as_its_config_says():
    config = EULER | {"num_train_timesteps": 40}
    for name in ("euler", "unipc"):
        make = flow_samplers(config)[name]
        assert make(40).config.num_train_timesteps == 40
        with pytest.raises(RecipeError, match="steps is 41; this base has 40 timesteps"):
            make(41)
        assert flow_samplers({})[name](5).config.num_train_timesteps == 1000
    assert flow_inverter(config)(4).config.num_train_timesteps == 40


def test_of_a_flow_unipc_is_two_orders_above_euler():
    """Data of one Gaussian: the slope at x is known exactly, and so is the whole path.

    Half-way twice the steps leave half of Euler's error, and an eighth of UniPC's: a predictor of second order, whose
    corrector adds one.
    """

    def variance(s):
        return (1 - s) ** 2 * 0.6**2 + s**2

    def exact(x, timesteps):
        s = (timesteps / 1000)[:, None, None, None, None].to(x)
        return (s - (1 - s) * 0.6**2) / variance(s) * x

    def error(name, steps):
        scheduler, start = flow_samplers({})[name](steps), draw_start(SHAPE, 0)
        middle = float(scheduler.sigmas[steps // 2])
        latents = list(sample(exact, scheduler, start, guidance=1.0))[steps // 2 - 1]
        return (latents - start * variance(middle) ** 0.5).abs().mean().item()

    errors = {name: [error(name, n) for n in (20, 40)] for name in ("euler", "unipc")}
    assert errors["euler"][0] / errors["euler"][1] == pytest.approx(2, abs=0.3)
    assert errors["unipc"][0] / errors["unipc"][1] == pytest.approx(8, abs=2)
    assert errors["unipc"][0] < errors["euler"][0] / 3


@pytest.mark.parametrize("shift", [None, 5.0])
def test_the_inverse_of_a_flow_takes_eulers_steps_backwards(shift):
    """From its last step's σ to all noise; of a constant slope it ends where Euler would begin."""
    forth, back = flow_samplers(EULER)["euler"](STEPS, shift=shift), flow_inverter(EULER)
    back = back(STEPS, shift=shift)
    sigmas = [0.0, *forth.sigmas.flip(0)[1:].tolist()]
    np.testing.assert_allclose(back.timesteps, 1000 * np.array(sigmas[:-1]), atol=1e-3)
    clean, slope = draw_start(SHAPE, 1), draw_start(SHAPE, 2)
    steps = list(sample(lambda x, _: slope, back, clean, guidance=1.0))
    for latents, sigma in zip(steps, sigmas[1:], strict=True):
        torch.testing.assert_close(latents, clean + sigma * slope)


@pytest.mark.parametrize("config", [CONFIG, ZERO_SNR], ids=["epsilon", "velocity"])
def test_the_inverse_of_ddim_undoes_each_of_its_steps(config):
    """A prediction that does not depend on the latents makes both exact."""
    forth, back = diffusion_samplers(config)["ddim"](STEPS), diffusion_inverter(config)(STEPS)
    velocity = config is ZERO_SNR
    fixed = draw_start(SHAPE, 3)
    # At pure noise a velocity says nothing of the latents that come before.
    times = forth.timesteps[1:] if velocity else forth.timesteps
    x = draw_start(SHAPE, 4)
    path = [x]
    if not velocity:
        for time in times:
            path.append(forth.step(fixed, time, path[-1], return_dict=False)[0])
        for time in back.timesteps:
            x = path.pop()
            (found,) = back.step(fixed, time, x, return_dict=False)
            torch.testing.assert_close(found, path[-1], rtol=1e-4, atol=1e-4)
        return
    a = alpha_bar(zero_snr=True)
    before = [0, *back.timesteps.tolist()[:-1]]
    for here, there in zip(before, back.timesteps.tolist(), strict=True):
        clean = a[here] ** 0.5 * x - (1 - a[here]) ** 0.5 * fixed
        noise = a[here] ** 0.5 * fixed + (1 - a[here]) ** 0.5 * x
        expected = a[there] ** 0.5 * clean + (1 - a[there]) ** 0.5 * noise
        (found,) = back.step(fixed, torch.tensor(there), x, return_dict=False)
        torch.testing.assert_close(found, expected.float(), rtol=1e-4, atol=1e-4)
        x = found


def test_a_scheduler_obeys_a_config_of_its_own_class_alone():
    """What Euler's config calls so may mean something else to UniPC, and the other way round."""
    odd = {"solver_order": 1, "shift_terminal": 0.1}
    found = {
        (config["_class_name"], name): flow_samplers(config | odd)[name](STEPS).config
        for config in (UNIPC, EULER)
        for name in ("unipc", "euler")
    }
    orders = [found[config["_class_name"], "unipc"].solver_order for config in (UNIPC, EULER)]
    ends = [found[config["_class_name"], "euler"].shift_terminal for config in (UNIPC, EULER)]
    assert orders == [1, 2]
    assert ends == [None, 0.1]
