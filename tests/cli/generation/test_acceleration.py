"""`dv gen --accelerator`: its settings, what the video says of it, and made again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

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
    assert (
        lost.code,
        "is gone" in lost.err,
        "--accelerator REF|PATH gives it again" in lost.err,
    ) == (*(3, True, True),)
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


@pytest.fixture
def imported(dv: Dv, learned: Learned, accelerator: Path) -> Dv:
    """``dv`` over a copy of the registry with the accelerator as turbo:v1, tagged best."""
    own = Path("own")
    shutil.copytree(learned.registry, own)
    placed = lambda *arguments: dv(*arguments, "--registry", own, "-q")  # noqa: E731
    made = placed(
        *("import", accelerator / "quick.safetensors", "--kind", "accelerator"),
        *("--name", "turbo", "--base", learned.base),
    )
    assert made.code == 0, made.err
    assert placed("accelerator", "tag", "turbo", "best").code == 0
    return placed


def test_one_of_the_registry_makes_the_bytes_that_its_file_makes(
    gen, imported: Dv, accelerator: Path
) -> None:
    assert gen("--accelerator", accelerator, "-o", "file.mp4", "-q").code == 0
    both = ("gen", "a corgi skate", "--subject", "corgi", "--motion", "skate")
    made = imported(*both, "--accelerator", "turbo:best", "-o", "turbo.mp4", "--json")
    assert made.code == 0, made.err
    told = json.loads(made.out)["accelerator"]
    recipes = [json.loads(str(read_comment(Path(n)))) for n in ("file.mp4", "turbo.mp4")]
    digests = [recipe["generate"].pop("accelerator") for recipe in recipes]
    assert recipes[0] == recipes[1]
    assert told == {"name": "turbo:v1", "digest": digests[1]}
    frames = [Path(name).read_bytes().replace(d.encode(), b"") for name, d in
              zip(("file.mp4", "turbo.mp4"), digests, strict=True)]  # fmt: skip
    assert frames[0] == frames[1]


def test_a_video_is_made_again_whatever_the_accelerator_is_called_by_then(
    imported: Dv, accelerator: Path
) -> None:
    plain = ("gen", "a dog", "--accelerator", "turbo", "--subject", "corgi", "-o", "first.mp4")
    assert imported(*plain).code == 0
    assert imported("accelerator", "rename", "turbo", "quick").code == 0
    again = ("gen", "--again", "first.mp4", "-o", "again.mp4")
    assert "accelerator  quick:v1" in imported(*again, "-n").out
    assert imported(*again).code == 0
    assert Path("again.mp4").read_bytes() == Path("first.mp4").read_bytes()
    assert imported("accelerator", "rm", "quick:v1", "-y").code == 0
    lost = imported("gen", "a dog", "--subject", "corgi", "--accelerator", "quick")
    assert (lost.code, "restore quick:v1" in lost.err) == (3, True)


def test_a_bundle_carries_one_and_is_one(imported: Dv, dv: Dv, learned: Learned) -> None:
    assert imported("accelerator", "export", "turbo", "-o", "turbo.dva").code == 0
    assert dv("import", "turbo.dva", "--registry", "fresh", "-q").code == 0
    rows = json.loads(dv("accelerator", "list", "--registry", "fresh", "--json").out)
    assert [(row["kind"], row["name"]) for row in rows] == [("accelerator", "turbo")]
    shown = json.loads(dv("accelerator", "show", "turbo", "--registry", "fresh", "--json").out)
    assert shown["card"]["generate"] == {"steps": 2, "guidance": 1, "sampler": "ddim"}
    alone = json.loads(dv("accelerator", "path", "turbo", "--registry", "fresh", "--json").out)
    for place in ("./turbo.dva", alone["path"]):
        plan = dv("gen", "a dog", "--base", learned.base, "--accelerator", place, "-n", "--json")
        assert json.loads(plan.out)["generate"]["steps"] == 2, plan.err
    refused = imported("accelerator", "export", "turbo", "-o", "x.safetensors", "--format", "peft")
    assert (refused.code, "dv accelerator path turbo:v1" in refused.err) == (2, True)


@pytest.mark.parametrize(
    "case",
    [
        (("--steps", 50), 2, "saves nothing: 50 steps"),
        (("--caption", "fast"), 2, "--caption says nothing of an accelerator"),
        (("--kind", "subject", "--steps", 4), 2, "--steps says nothing of a subject or motion"),
        (("--sampler", "unipc", "--guidance", -1), 2, "guidance"),
        (("--base", "mini"), 6, "was made for another base"),
    ],
)
def test_what_is_no_accelerator_of_this_base_is_not_imported(
    dv: Dv, learned: Learned, accelerator: Path, case: tuple[tuple[str, ...], int, str]
) -> None:
    arguments, code, told = case
    usual = ("--kind", "accelerator", "--base", learned.base, "--registry", "own")
    refused = dv("import", accelerator / "quick.safetensors", *usual, *arguments)
    assert (refused.code, told in refused.err) == (code, True), refused.err
    assert dv("accelerator", "list", "--registry", "own").out == ""


def test_steps_must_be_said_and_zeros_are_no_accelerator(
    dv: Dv, learned: Learned, accelerator: Path
) -> None:
    (accelerator / "accelerator.toml").unlink()
    file = accelerator / "quick.safetensors"
    line = ("import", file, "--kind", "accelerator", "--base", learned.base, "--registry", "own")
    silent = dv(*line)
    assert (silent.code, "--steps N" in silent.err) == (2, True)
    assert dv(*line, "--steps", 2, "--guidance", 1, "-q").code == 0
    save_file({name: t * 0 for name, t in load_file(file).items()}, file)
    refused = dv(*line, "--steps", 2)
    assert (refused.code, "changes nothing" in refused.err) == (6, True)


def test_it_has_no_weight_and_no_other_kind(gen, imported: Dv) -> None:
    weighted = gen("--accelerator", "turbo=0.5", "-n")
    assert (weighted.code, "an accelerator has no weight" in weighted.err) == (2, True)
    astray = imported("gen", "a dog", "--accelerator", "corgi:v1", "-n")
    assert (astray.code, "there is subject/corgi" in astray.err) == (3, True)
