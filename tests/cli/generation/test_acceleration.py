"""`dv gen --accelerator`: its settings, what the video says of it, and made again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from engine.media.output.comments import read_comment
from tests.cli.conftest import Dv, Learned
from tests.tiny import open_tiny


@pytest.fixture
def accelerator(learned: Learned, tmp_path: Path) -> Path:
    """A folder that changes a bias of the tiny base, with a card."""
    bias = dict(open_tiny(learned.base).denoiser.named_parameters())["conv_in.bias"]
    folder = tmp_path / "quick"
    folder.mkdir()
    save_file({"unet.conv_in.diff_b": torch.ones_like(bias)}, folder / "quick.safetensors")
    (folder / "accelerator.toml").write_text(
        '[generate]\nsteps = 2\nguidance = 1\nsampler = "ddim"\n'
    )
    return folder


@pytest.fixture
def gen(dv: Dv, learned: Learned):
    both = ("--subject", "corgi", "--motion", "skate", "--registry", learned.registry)
    return lambda *arguments: dv("gen", "a corgi skate", *both, *arguments)


def test_it_is_composed_with_adapters_told_of_and_made_again(
    gen, dv: Dv, learned: Learned, accelerator: Path
) -> None:
    made = gen("--accelerator", accelerator, "-o", "quick.mp4", "-q")
    assert made.code == 0, made.err
    generate = json.loads(str(read_comment(Path("quick.mp4"))))["generate"]
    assert (generate["steps"], generate["guidance"], generate["sampler"]) == (2, 1, "ddim")
    assert len(generate["accelerator"]) == 64
    plain = gen("--steps", 2, "--guidance", 1, "--sampler", "ddim", "-o", "plain.mp4", "-q")
    assert plain.code == 0
    assert Path("plain.mp4").read_bytes() != Path("quick.mp4").read_bytes()
    again = ("gen", "--again", "quick.mp4", "--registry", learned.registry, "-q", "-o", "again.mp4")
    assert dv(*again).code == 0
    assert Path("again.mp4").read_bytes() == Path("quick.mp4").read_bytes()
    moved = accelerator.rename(accelerator.with_name("moved"))
    lost = dv(*again)
    assert (lost.code, "is gone" in lost.err, "--accelerator PATH gives it again" in lost.err) == (
        *(3, True, True),
    )
    assert dv(*again, "--overwrite", "--accelerator", moved).code == 0
    assert Path("again.mp4").read_bytes() == Path("quick.mp4").read_bytes()


def test_none_takes_it_off_and_the_base_says_the_steps_again(
    gen, dv: Dv, learned: Learned, accelerator: Path
) -> None:
    assert gen("--accelerator", accelerator, "-o", "quick.mp4", "-q").code == 0
    again = ("gen", "--again", "quick.mp4", "--registry", learned.registry, "--accelerator", "none")
    told = json.loads(dv(*again, "-n", "--json").out)
    usual = json.loads(gen("-n", "--json").out)
    for plan in (told, usual):
        assert "accelerator" not in json.dumps(plan) or not plan.get("accelerator")
    settings = ("steps", "guidance", "sampler")
    assert [told["generate"][s] for s in settings] == [usual["generate"][s] for s in settings]
    assert json.loads(dv(*again, "-n", "--json", "--steps", 3).out)["generate"]["steps"] == 3


def test_flags_come_before_its_card_and_it_must_save_calls(gen, accelerator: Path) -> None:
    told = gen("-n", "--accelerator", accelerator, "--steps", 3).out
    assert "ddim, 3 steps, guidance 1" in told
    assert f"accelerator  {accelerator}" in told
    refused = gen("-n", "--accelerator", accelerator, "--steps", 50)
    assert (refused.code, "saves nothing: 50 steps" in refused.err) == (2, True)
    (accelerator / "accelerator.toml").unlink()
    silent = gen("-n", "--accelerator", accelerator)
    assert (silent.code, "--steps N" in silent.err) == (2, True)


def test_one_that_is_not_here_is_named_before_the_wait(gen) -> None:
    refused = gen("--accelerator", "turbo")
    assert (refused.code, "accelerator turbo is not on this machine" in refused.err) == (7, True)
    assert "mini-4" in refused.err
