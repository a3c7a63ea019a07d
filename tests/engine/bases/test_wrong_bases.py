"""Many ways of naming a wrong base: each gets one line that says what it is and what would do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.bases import locate_base
from engine.bases.kinds import find_kind
from engine.bases.names.releases import RELEASES
from engine.errors import BaseInvalidError, BaseNotFoundError

HEX = "0123456789abcdef0123456789abcdef01234567"
MODULE = "guoyww/animatediff-motion-adapter-v1-5-3"
LIST = "dv base list"

# The name that is given, what it is said to be, and what is said would do.
NAMES = {
    "modelscop": ("no base is called 'modelscop'", "did you mean modelscope?"),
    "ModelScope": ("no base is called 'ModelScope'", "its name is modelscope"),
    "AnimateDif": ("no base is called 'AnimateDif'", "did you mean animatediff?"),
    "https://huggingface.co/ali-vilab/text-to-video-ms-1.7b/tree/main": (
        "no base is called",
        "its name is ali-vilab/text-to-video-ms-1.7b",
    ),
    "hf.co/owner/model": ("no base is called", "its name is owner/model"),
    "ALI-VILAB/Text-To-Video-MS-1.7b": ("no base", "its name is ali-vilab/text-to-video-ms-1.7b"),
    "corgi:v1": ("written like a learned subject or motion", "--subject and --motion take them"),
    "corgi@sha256:0f0f": ("written like a learned subject or motion", "--subject and --motion"),
    "": ("no base is called ''", "known: mini, modelscope"),
    "a/b/c": ("no base is called 'a/b/c'", "written owner/name"),
    "owner/two words": ("no base is called", "a path starts with ./"),
    "two words": ("no base is called 'two words'", "a path that starts with ./"),
    "folder": ("there is a path of that name", "./folder"),
    "Lightricks/LTX-Video": ("is LTX-Video, which no family of dv opens", LIST),
    "tencent/HunyuanVideo": ("is HunyuanVideo, which no family of dv opens", LIST),
    "zai-org/CogVideoX-2b": ("is CogVideoX, which no family of dv opens", LIST),
    "genmo/mochi-1-preview": ("is Mochi, which no family of dv opens", LIST),
    "Wan-AI/Wan2.1-I2V-14B-480P-Diffusers": ("is an image-to-video model", "text-to-video model"),
    "Wan-AI/Wan2.1-VACE-1.3B-diffusers": ("is VACE", "text-to-video model"),
    "Wan-AI/Wan2.1-T2V-1.3B": ("in .pth files", "is called wan2.1-1.3b"),
    "stabilityai/stable-video-diffusion-img2vid": ("is Stable Video Diffusion", LIST),
    "stabilityai/stable-diffusion-xl-base-1.0": ("is a Stable Diffusion other than 1.5", LIST),
    "stable-diffusion-v1-5/stable-diffusion-v1-5": ("nothing in it moves", "--motion-module"),
    "SG161222/Realistic_Vision_V5.1_noVAE": ("nothing in it moves", f"--motion-module {MODULE}"),
    "black-forest-labs/FLUX.1-dev": ("is an image model that nothing animates", LIST),
    "latent-consistency/lcm-lora-sdv1-5": ("is a LoRA", LIST),
    MODULE: ("is the motion module of animatediff", "the base is called animatediff"),
    "laion/CLIP-ViT-H-14-laion2B-s32B-b79K": ("is the image tower of", "the base is called"),
    "openai/clip-vit-large-patch14": ("is an image tower", "--image-tower takes it"),
    "nobody/nothing": ("is not on this machine", "if its model_index.json names one of UNet3D"),
    "modelscope": ("base modelscope is not on this machine", "dv base pull modelscope"),
    "./nowhere": ("no such folder", LIST),
    "./foldr": ("no such folder", "folder?"),
}


def tensors(*names: str, **facts: str) -> bytes:
    header = {name: {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for name in names}
    text = json.dumps(header | ({"__metadata__": facts} if facts else {})).encode()
    return len(text).to_bytes(8, "little") + text


# The file that is given by its path, its bytes, what it is said to be, and what is said would do.
FILES = {
    "corgi.dva": (b"", "a bundle of learned subjects and motions", "dv import corgi.dva"),
    "corgi.safetensors": (tensors("a", dreamvideo="{}"), "a learned adapter", "dv import"),
    "style.safetensors": (tensors("lora_unet_a.lora_up.weight"), "a LoRA", LIST),
    "v1-5-pruned.safetensors": (
        tensors("model.diffusion_model.input_blocks.0.0.bias"),
        "a checkpoint in one file",
        "save_pretrained",
    ),
    "mm.safetensors": (
        tensors("down_blocks.0.motion_modules.0.x"),
        "a single motion module",
        MODULE,
    ),
    "wan.safetensors": (tensors("blocks.0.self_attn.q.bias"), "the transformer alone", "a folder"),
    "cut.safetensors": (b"\xff" * 9, "a single file of weights (.safetensors)", "a folder"),
    "v1-5.ckpt": (b"", "a single file of weights (.ckpt)", "model_index.json"),
    "Wan2.1_VAE.pth": (b"", "a single file of weights (.pth)", "model_index.json"),
    "wan-Q4.gguf": (b"", "a single file of weights (.gguf)", "model_index.json"),
    "dog.JPG": (b"", "a picture", "learned from these"),
    "clip.mp4": (b"", "a clip", "learned from these"),
    "notes": (b"", "a file", "model_index.json"),
}
INDEX = "model_index.json"
# The files of a folder, what it is said to be, and what is said would do.
FOLDERS: dict[str, tuple[dict[str, object], str, str]] = {
    "empty": ({}, "it is empty", "a folder"),
    "unfinished": ({"unet/config.json": {}, ".cache/x": ""}, "its download was cut short", "unet"),
    "original": (
        {"configuration.json": {}, "text2video_pytorch_model.pth": ""},
        "ModelScope's own layout",
        "dv base pull modelscope",
    ),
    "wan": (
        {"config.json": {"_class_name": "WanModel"}, "Wan2.1_VAE.pth": ""},
        "Wan as its makers lay it out",
        "-Diffusers",
    ),
    "module": (
        {"config.json": {"_class_name": "MotionAdapter"}},
        "it is a motion module",
        "--motion-module",
    ),
    "tower": (
        {"config.json": {"architectures": ["CLIPVisionModelWithProjection"]}},
        "it is an image tower",
        "--image-tower",
    ),
    "whole/unet": (
        {"config.json": {"_class_name": "UNet3DConditionModel"}, f"../{INDEX}": {}},
        "it is one part of a base (UNet3DConditionModel)",
        "the whole: ",
    ),
    "peft": ({"adapter_config.json": {}}, "it is a LoRA as peft saves it", LIST),
    "hub": ({"models--a--b/refs/main": ""}, "it is a cache of the hub", "--base a/b"),
    "models--a--b": (
        {f"snapshots/{HEX}/{INDEX}": {}},
        "it is one repository in a cache of the hub",
        f"snapshots/{HEX}",
    ),
    f"models--c--d/snapshots/{HEX}": (
        {"unet/config.json": {}},
        "it is half fetched",
        "dv base pull c/d goes on",
    ),
    f"models--e--f/snapshots/{HEX}": (
        {INDEX: {"unet": ["diffusers", "UNet3DConditionModel"]}},
        "base e/f is half fetched",
        "dv base pull e/f goes on",
    ),
    "photos": ({"a.jpg": "", "b.png": ""}, "it is a folder of pictures", "dv subject learn"),
    "clips": ({"a.mp4": ""}, "it is a folder of clips", "dv motion learn"),
    "store": ({"registry.toml": ""}, "it is a registry", LIST),
    "loose": ({"x.ckpt": ""}, "it holds weights alone (x.ckpt)", "a folder"),
    "other": ({"x.txt": ""}, "it holds other things", "a folder"),
    "broken": ({INDEX: "{"}, f"{INDEX} cannot be read", ""),
    "ltx": ({INDEX: {"_class_name": "LTXPipeline"}}, "is LTX-Video", LIST),
    "hunyuan": ({INDEX: {"_class_name": "HunyuanVideoPipeline"}}, "is HunyuanVideo", LIST),
    "cog": ({INDEX: {"_class_name": "CogVideoXPipeline"}}, "is CogVideoX", LIST),
    "i2v": ({INDEX: {"_class_name": "WanImageToVideoPipeline"}}, "an image-to-video model", LIST),
    "i2v-of-a-known-class": (
        {INDEX: {"_class_name": "SomeImageToVideoPipeline", "unet": ["x", "UNet3DConditionModel"]}},
        "an image-to-video model",
        LIST,
    ),
    "vace": ({INDEX: {"_class_name": "WanVACEPipeline"}}, "is VACE", LIST),
    "new": ({INDEX: {"_class_name": "NewPipeline"}}, "a NewPipeline that no family", "UNet3D"),
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to stand in, and nothing of the hub on this machine."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    (tmp_path / "here" / "folder").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def refusal(name: str) -> tuple[str, str]:
    with pytest.raises((BaseNotFoundError, BaseInvalidError)) as caught:
        locate_base(name)
    assert "\n" not in caught.value.line
    return caught.value.message, caught.value.hint or ""


@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_name(here: Path, name: str) -> None:
    message, hint = refusal(name)
    what, would_do = NAMES[name]
    assert what in message
    assert would_do in hint


@pytest.mark.parametrize("name", FILES)
def test_a_file(here: Path, name: str) -> None:
    content, what, would_do = FILES[name]
    (here / name).write_bytes(content)
    message, hint = refusal(f"./{name}")
    assert what in message
    assert would_do in hint


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder(here: Path, name: str) -> None:
    files, what, would_do = FOLDERS[name]
    folder = here / name
    folder.mkdir(parents=True)
    for file, content in files.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / file).write_text(text, "utf-8")
    message, hint = refusal(f"./{name}")
    assert what in message
    assert would_do in f"{message} {hint}"


UNOPENED = [
    name
    for name in NAMES
    if (kind := find_kind(name)) and not kind.is_image_model and not kind.is_beside
]


@pytest.mark.parametrize("name", UNOPENED)
def test_nothing_is_offered_that_no_family_opens(here: Path, name: str) -> None:
    _, hint = refusal(name)
    assert "dv base pull" not in hint
    assert "hf download" not in hint


def test_a_known_base_is_offered_by_its_name(here: Path) -> None:
    for name in RELEASES:
        assert f"dv base pull {name}" in refusal(name)[1]


@pytest.mark.parametrize(
    "name", ["explorations/wan-finetune", "lora-lab/wan", "oksana/clips", "x/influx-wan"]
)
def test_a_name_that_only_contains_a_word_is_taken_for_none(here: Path, name: str) -> None:
    assert f"dv base pull {name}, if" in refusal(name)[1]


def test_a_likely_slip_is_told_and_refuses_nothing(here: Path) -> None:
    message, hint = refusal("camenduru/zeroscope_v2_576w")
    assert "is not on this machine" in message
    assert "dv base pull camenduru/zeroscope_v2_576w, if" in hint
    assert "did you mean cerspense/zeroscope_v2_576w?" in hint
