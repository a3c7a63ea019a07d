"""Adapters on diffusers' own pipelines: the latents of `dv gen`, and nothing left behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from dreamvideo_cli.api import attach, learn, open_registry
from dreamvideo_cli.errors import UsageError
from dreamvideo_cli.main import main
from engine.bases import locate_base
from engine.bases.models.stable_diffusion import StableDiffusionBase
from engine.bases.models.wan import WanBase
from engine.diffusion.samplers import draw_start
from engine.errors import DeviceError, IncompatibleError, RecipeError
from engine.formats.target import Target
from registry import NotFoundError
from tests import animatediff
from tests.engine.formats import files
from tests.parity import test_pipeline, test_wan_pipeline
from tests.tiny import build_unet3d
from tests.tiny_wan import build_wan

STEPS, GUIDANCE, SEED, FRAMES = 5, 4.0, 3, 5
NEGATIVE = "red box"
CORGI, SKATE = "corgi.unet3d", "skate.unet3d"


def build_animatediff(folder: Path) -> Path:
    size = f"height_px = {animatediff.HEIGHT_PX}\nwidth_px = {animatediff.WIDTH_PX}\n"
    animatediff.build_animatediff(folder)
    (folder / "base.toml").write_text(f'schema = "dv.base/1"\n[video]\n{size}', "utf-8")
    return folder


def open_animatediff(folder: Path) -> Any:
    from diffusers import AnimateDiffPipeline

    from tests.tiny import quiet_draws

    with quiet_draws(0):
        pipeline = AnimateDiffPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


Open = Callable[[Path], Any]
# Of each family: how a tiny base is built, how diffusers opens it, and the sampler of its own scheduler.
FAMILIES: dict[str, tuple[Callable[[Path], Path], Open, str]] = {
    "unet3d": (build_unet3d, test_pipeline.open_pipeline, "ddim"),
    "animatediff": (build_animatediff, open_animatediff, "ddim"),
    "wan": (build_wan, test_wan_pipeline.open_pipeline, "unipc"),
    "wan ti2v": (lambda at: build_wan(at, "ti2v"), test_wan_pipeline.open_pipeline, "unipc"),
    "wan a14b": (lambda at: build_wan(at, "a14b"), test_wan_pipeline.open_pipeline, "unipc"),
}


@pytest.fixture(scope="module")
def learned(
    tmp_path_factory: pytest.TempPathFactory, photos: Path, clip: Path
) -> Iterator[Callable[[str], tuple[Path, Any]]]:
    """A subject and a motion on a tiny base of a family, learned once; returns its folder and its pipeline."""
    home = tmp_path_factory.mktemp("home")
    (home / "config.toml").touch()

    @cache
    def both(family: str) -> tuple[Path, Any]:
        build, open_pipeline, _ = FAMILIES[family]
        folder = build(home / family / "tiny")
        common = {"base": folder, "batch": 1}
        corgi, skate = name_of(family, "corgi"), name_of(family, "skate")
        strong = {"word_lr": 0.5, "adapter_lr": 0.05}
        found = learn("subject", photos, name=corgi, class_word="dog", steps=4, **strong, **common)
        assert (found.name, found.record.class_word) == (corgi, "dog")
        told = {"caption": "skating", "steps": 2, "lr": 0.05, "frames": FRAMES}
        assert learn("motion", clip, name=skate, **told, **common).version == 1
        return folder, open_pipeline(folder)

    with pytest.MonkeyPatch.context() as patch:
        for name in ("REGISTRY", "STATE", "CACHE"):
            patch.setenv(f"DV_{name}", str(home / name.lower()))
        patch.setenv("DV_CONFIG", str(home / "config.toml"))
        yield both


def name_of(family: str, name: str) -> str:
    return f"{name}.{family.replace(' ', '.')}"


def run(*line: object) -> None:
    assert main([str(part) for part in line]) == 0


def size_of(folder: Path) -> dict[str, int]:
    from engine.bases import locate_base

    video = locate_base(str(folder)).card.video
    return {"height": video.height_px, "width": 2 * video.width_px}


def their_latents(pipeline: Any, prompt: str, folder: Path, **changes: Any) -> torch.Tensor:
    settings = {
        "negative_prompt": NEGATIVE,
        "num_frames": FRAMES,
        "num_inference_steps": STEPS,
        "guidance_scale": GUIDANCE,
        **size_of(folder),
    }
    if getattr(pipeline, "transformer_2", None) is not None:
        settings["guidance_scale_2"] = 3.0  # as the card of a base of two experts has it
    generator = torch.Generator().manual_seed(SEED)
    made = pipeline(prompt, **(settings | changes), generator=generator, output_type="latent")
    return made.frames


def our_latents(
    monkeypatch: Any, family: str, folder: Path, *flags: object, negative: str = NEGATIVE
) -> torch.Tensor:
    """What `dv gen` decodes."""
    seen = []
    for base in (StableDiffusionBase, WanBase):

        def note(self: Any, latents: Any, *, decode: Any = base.decode_video, **more: Any) -> Any:
            seen.append(latents)
            return decode(self, latents, **more)

        monkeypatch.setattr(base, "decode_video", note)
    size = size_of(folder)
    settings = {
        "frames": FRAMES,
        "steps": STEPS,
        "guidance": GUIDANCE,
        "seed": SEED,
        "negative": negative,
        "sampler": FAMILIES[family][2],
        "size": f"{size['width']}x{size['height']}",
    }
    line = [part for name, value in settings.items() for part in (f"--{name}", value)]
    run("gen", *flags, *line, "-o", folder / "made.mp4", "--overwrite", "-q")
    return seen[-1]


def distance(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).abs().max())


@pytest.mark.parametrize(
    "family",
    [
        "unet3d",
        "animatediff",
        "wan",
        pytest.param("wan ti2v", marks=pytest.mark.slow),
        pytest.param("wan a14b", marks=pytest.mark.slow),
    ],
)
def test_the_latents_are_those_of_dv_gen_and_nothing_is_left_behind(
    learned: Callable[[str], tuple[Path, Any]], monkeypatch: Any, family: str
) -> None:
    folder, pipeline = learned(family)
    bare = their_latents(pipeline, "a dog skating on grass", folder)
    windows = {"identity_from": 0.3, "identity_early": 0.5, "motion_until": 0.7}
    windows |= {"subject_uncond": 0.25, "motion_uncond": 0.5}
    uses = {
        "subject": name_of(family, "corgi") + "=0.9",
        "motion": name_of(family, "skate") + "=1.5",
    }
    typed = f"a <{name_of(family, 'corgi')}> skating on grass"
    with attach(pipeline, **uses, **windows) as (corgi, skate):
        theirs = their_latents(pipeline, typed, folder)
    assert (corgi.name, skate.version) == (name_of(family, "corgi"), 1)
    flags = [part for name, ref in uses.items() for part in (f"--{name}", ref)]
    flags += [part for name, f in windows.items() for part in (f"--{name.replace('_', '-')}", f)]
    ours = our_latents(monkeypatch, family, folder, typed, *flags)
    assert distance(ours, theirs) < 1e-4
    assert distance(theirs, bare) > 0.05
    assert torch.equal(their_latents(pipeline, "a dog skating on grass", folder), bare)
    assert "encode_prompt" not in vars(pipeline)


@pytest.mark.parametrize("family", ["unet3d", "animatediff", "wan"])
def test_weight_zero_changes_no_bit_and_an_exception_leaves_nothing_behind(
    learned: Callable[[str], tuple[Path, Any]], family: str
) -> None:
    folder, pipeline = learned(family)
    bare = their_latents(pipeline, "a dog skating on grass", folder)
    corgi, skate = name_of(family, "corgi"), name_of(family, "skate")
    typed = f"a <{corgi}> skating on grass"
    with attach(pipeline, subject=f"{corgi}=0", motion=f"{skate}=0"):
        assert torch.equal(their_latents(pipeline, typed, folder), bare)

    with pytest.raises(ZeroDivisionError), attach(pipeline, subject=corgi, motion=skate):
        interrupted(pipeline, typed, folder)
    assert torch.equal(their_latents(pipeline, "a dog skating on grass", folder), bare)


@pytest.mark.parametrize("family", ["unet3d", "wan"])
def test_a_pipeline_in_half_precision_takes_adapters_on_the_cpu_too(
    learned: Callable[[str], tuple[Path, Any]], family: str
) -> None:
    """In bf16 it does; fp16, in which nothing else of dv computes there, is refused in one line."""
    folder, _ = learned(family)
    uses = {"subject": name_of(family, "corgi"), "motion": name_of(family, "skate")}
    pipeline = FAMILIES[family][1](folder).to(torch.bfloat16)
    bare = their_latents(pipeline, "a dog skating", folder)
    with attach(pipeline, **uses):
        found = their_latents(pipeline, f"a <{name_of(family, 'corgi')}> skating", folder)
    assert found.isfinite().all()
    assert distance(found.float(), bare.float()) > 0.05
    with pytest.raises(DeviceError, match="fp16 cannot be used on the CPU") as refused:
        attach(pipeline.to(torch.float16), **uses).__enter__()
    assert refused.value.hint == "bf16 or fp32 can"


def test_layers_of_the_text_tower_read_every_prompt_as_dv_gen_does(
    unet3d: tuple[Path, Any], monkeypatch: Any, tmp_path: Path
) -> None:
    """With and without a negative prompt; then the pipeline reads as before."""
    folder, pipeline = unet3d
    target = Target(locate_base(str(folder)))
    slots = [slot for slot in target.slots if slot.layer.is_read]
    path = files.saved(files.kohya(slots, alpha=9.0), tmp_path / "lora.safetensors")
    run("import", path, "--kind", "subject", "--base", folder, "--name", "rex", "-q")
    bare = their_latents(pipeline, "rex skating", folder)
    with attach(pipeline, subject="rex"):
        theirs = their_latents(pipeline, "rex skating", folder)
        told = their_latents(pipeline, "rex skating", folder, negative_prompt=None)
    line = ("rex skating", "--subject", "rex")
    assert distance(our_latents(monkeypatch, "unet3d", folder, *line), theirs) < 1e-4
    assert distance(our_latents(monkeypatch, "unet3d", folder, *line, negative=""), told) < 1e-4
    assert distance(theirs, their_latents(pipeline, "object skating", folder)) > 1e-3
    assert torch.equal(their_latents(pipeline, "rex skating", folder), bare)


def interrupted(pipeline: Any, prompt: str, folder: Path) -> None:
    """A video that ends with an error of its first step."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline.scheduler, "step", lambda *_, **__: 1 / 0)
        their_latents(pipeline, prompt, folder)


@pytest.fixture
def unet3d(learned: Callable[[str], tuple[Path, Any]]) -> tuple[Path, Any]:
    return learned("unet3d")


def test_prompts_in_a_batch_and_without_guidance_are_read_each_by_itself(
    unet3d: tuple[Path, Any],
) -> None:
    folder, pipeline = unet3d
    prompts = [f"a <{CORGI}> skating on grass", f"a <{CORGI}> on the beach skating"]
    noise = draw_start((1, 4, FRAMES, 8, 16), 0)
    with attach(pipeline, subject=CORGI, motion=SKATE):
        for guidance in (1.0, GUIDANCE):
            told = {"guidance_scale": guidance, "negative_prompt": None}
            both = their_latents(
                pipeline, prompts, folder, latents=noise.repeat(2, 1, 1, 1, 1), **told
            )
            for number, prompt in enumerate(prompts):
                alone = their_latents(pipeline, prompt, folder, latents=noise, **told)
                assert distance(both[number], alone[0]) < 1e-4


def test_what_a_prompt_leaves_out_is_added_with_a_warning(unet3d: tuple[Path, Any]) -> None:
    folder, pipeline = unet3d
    with attach(pipeline, subject=CORGI, motion=SKATE):
        whole = their_latents(pipeline, "<corgi.unet3d> on grass skating", folder)
        with pytest.warns(UserWarning, match="does not say"):
            assert torch.equal(their_latents(pipeline, "on grass", folder), whole)


def refusal(pipeline: Any, **uses: Any) -> str:
    """Why adapters are not attached."""
    with pytest.raises((UsageError, IncompatibleError, NotFoundError)) as caught:
        attach(pipeline, **uses).__enter__()
    return str(caught.value)


def test_errors_say_what_is_wrong(unet3d: tuple[Path, Any], tmp_path: Path) -> None:
    _, pipeline = unet3d
    assert "nothing is attached" in refusal(pipeline)
    assert "corgy" in refusal(pipeline, subject="corgy")
    with attach(pipeline, subject=CORGI):
        assert "attached already" in refusal(pipeline, motion=SKATE)
    wan = test_wan_pipeline.open_pipeline(build_wan(tmp_path / "wan"))
    assert "unet is missing" in refusal(wan, subject=CORGI)
    pipeline.unet.conv_out.bias.data += 1.0
    assert "unet's conv_out.bias holds other numbers" in refusal(pipeline, subject=CORGI)
    pipeline.unet.conv_out.bias.data -= 1.0
    conv_in, pipeline.unet.conv_in = pipeline.unet.conv_in, torch.nn.Conv2d(4, 3, 1)
    assert "unet's conv_in.bias is (3,), and the base's (" in refusal(pipeline, subject=CORGI)
    pipeline.unet.conv_in = conv_in


def test_what_cannot_be_learned_is_refused_as_the_commands_do(tmp_path: Path, photos: Path) -> None:
    with pytest.raises(UsageError, match="neither subject nor motion"):
        learn("joint", photos, name="x")  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match="unknown setting 'adapter_rl'"):
        learn("subject", photos, name="x", registry=tmp_path, adapter_rl=1.0)


def test_the_pipelines_own_folder_does_where_the_adapters_base_has_moved(
    unet3d: tuple[Path, Any],
) -> None:
    folder, _ = unet3d
    moved = folder.rename(folder.with_name("moved"))
    pipeline = test_pipeline.open_pipeline(moved)
    with attach(pipeline, subject=CORGI, registry=open_registry()) as found:
        assert [str(each).split("@")[0] for each in found] == [f"{CORGI}:v1"]
    moved.rename(folder)
