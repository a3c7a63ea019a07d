"""Files as people have them: each ends in an adapter that acts, or in one line that says what is the matter."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.adapters.delta import build_delta
from engine.adapters.file import load_adapter
from engine.bases import BaseLocation, locate_base
from engine.formats.target import Target
from tests.animatediff import build_image_model, build_motion_module
from tests.cli.conftest import Dv
from tests.engine.formats import files
from tests.tiny import TEXT_WIDTH, build_unet3d
from tests.tiny_wan import build_wan

Maker = Callable[[Path, dict[str, Target]], object]

UNET = ("--base", "unet3d")
SUBJECT = (*UNET, "--kind", "subject")
MOTION = (*UNET, "--kind", "motion")
ANIMATED = ("--base", "animatediff")
WAN = ("--base", "wan", "--kind", "motion")


class Hostile:
    """What runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch run-by-a-pickle",)


@pytest.fixture(scope="session")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, ...]]:
    """How each base is named on a command line."""
    folder = tmp_path_factory.mktemp("bases")
    image, motion = build_image_model(folder / "image"), build_motion_module(folder / "motion")
    return {
        "unet3d": (str(build_unet3d(folder / "unet3d")),),
        "animatediff": (str(image), "--motion-module", str(motion)),
        "wan": (str(build_wan(folder / "wan")),),
        "experts": (str(build_wan(folder / "experts", "a14b")),),
    }


@pytest.fixture(scope="session")
def locations(places: dict[str, tuple[str, ...]]) -> dict[str, BaseLocation]:
    return {
        name: locate_base(place[0], motion_module=place[2] if len(place) > 1 else None)
        for name, place in places.items()
    }


@pytest.fixture(scope="session")
def targets(locations: dict[str, BaseLocation]) -> dict[str, Target]:
    return {name: Target(location) for name, location in locations.items()}


def of(
    family: str, *, temporal: bool | None = False, read: bool = False
) -> Callable[[dict[str, Target]], Any]:
    """Layers of attention; ``read``: and those of the text tower."""
    return lambda targets: [
        *files.attention(targets[family], temporal=temporal),
        *(slot for slot in targets[family].slots if read and slot.layer.is_read),
    ]


def safe(make: Callable[..., dict[str, torch.Tensor]], slots: Any, **settings: Any) -> Maker:
    """Low-rank layers of some slots, as a safetensors file."""
    return lambda path, targets: files.saved(make(slots(targets), **settings), path)


def changed(change: Callable[[dict[str, torch.Tensor]], None]) -> Maker:
    """A good LoRA with something wrong in it."""

    def make(path: Path, targets: dict[str, Target]) -> None:
        tensors = files.kohya(of("unet3d")(targets)[:6])
        change(tensors)
        files.saved(tensors, path)

    return make


def cut(make: Maker, share: float) -> Maker:
    """The first part of a file."""

    def run(path: Path, targets: dict[str, Target]) -> None:
        make(path, targets)
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * share)])

    return run


def saved(value: Any, *, is_old: bool = False) -> Maker:
    """What `torch.save` writes; ``is_old``: as before it wrote zips."""
    return lambda path, _: torch.save(value, path, _use_new_zipfile_serialization=not is_old)


def word(**tensors: torch.Tensor) -> Maker:
    return lambda path, _: files.saved(tensors, path)


def raw(data: bytes) -> Maker:
    return lambda path, _: path.write_bytes(data)


def packed(value: torch.Tensor) -> Maker:
    """What `torch.save` writes, compressed to next to nothing."""

    def make(path: Path, _: dict[str, Target]) -> None:
        whole = io.BytesIO()
        torch.save({"a": value}, whole)
        with zipfile.ZipFile(whole) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
            for part in old.infolist():
                new.writestr(part.filename, old.read(part))

    return make


def zipped(path: Path, _: dict[str, Target]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "no weights")


def peft_folder(**changes: Any) -> Maker:
    """A folder as peft saves it, its settings changed; None: without settings."""

    def make(path: Path, targets: dict[str, Target]) -> None:
        path.mkdir()
        slots = of("unet3d")(targets)
        tensors = files.diffusers(slots, "base_model.model")
        files.saved(tensors, path / "adapter_model.safetensors")
        settings = {"peft_type": "LORA", "r": 3, "lora_alpha": 6, **changes}
        (path / "adapter_config.json").write_text(json.dumps(settings))

    return make


def bottlenecks(role: str) -> Maker:
    def make(path: Path, targets: dict[str, Target]) -> None:
        tensors = files.bottlenecks(targets["unet3d"], role)
        torch.save({"state_dict": tensors, "step": 1000}, path)

    return make


def motion_list(path: Path, targets: dict[str, Target]) -> None:
    slots = [
        slot
        for slot in targets["unet3d"].slots
        if targets["unet3d"].is_motion(slot.path)
        and any(f".{part}." in slot.path for part in ("attn1", "attn2", "ff"))
    ]
    torch.save(
        [t for s in slots for t in (torch.ones(s.widths[1], 2), torch.ones(2, s.widths[0]))], path
    )


def first(tensors: dict[str, torch.Tensor], ending: str) -> str:
    return next(key for key in tensors if key.endswith(ending))


def lose(ending: str) -> Callable[[dict[str, torch.Tensor]], None]:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        del tensors[first(tensors, ending)]

    return change


def put(ending: str, value: torch.Tensor) -> Callable[[dict[str, torch.Tensor]], None]:
    return lambda tensors: tensors.update({first(tensors, ending): value})


def add(key: str) -> Callable[[dict[str, torch.Tensor]], None]:
    return lambda tensors: tensors.update({key: torch.ones(2, 2)})


def add_alpha(value: float) -> Callable[[dict[str, torch.Tensor]], None]:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        key = first(tensors, ".lora_up.weight")
        tensors[key] = torch.full_like(tensors[key], 9.0)
        tensors[key.replace("lora_up.weight", "alpha")] = torch.tensor(value)

    return change


def narrow(tensors: dict[str, torch.Tensor]) -> None:
    """Numbers of 8 bits, as files for small GPUs have them."""
    tensors.update({name: t.to(torch.float8_e4m3fn) for name, t in tensors.items()})


def laughs() -> list[Any]:
    """A list of lists of lists, each the same one a hundred times over."""
    value: list[Any] = [torch.ones(1)]
    for _ in range(5):
        value = [value] * 100
    return value


VECTORS = torch.full((2, TEXT_WIDTH), 0.1)
# Of each kind of file: its name, how it is made, what it is asked to be.
GOOD: dict[str, tuple[Maker, tuple[str, ...]]] = {
    "kohya.safetensors": (safe(files.kohya, of("unet3d"), alpha=1.0), SUBJECT),
    "kohya-sd1.safetensors": (safe(files.kohya, of("animatediff")), ANIMATED),
    "fp8.safetensors": (changed(narrow), SUBJECT),
    "with-text-tower.safetensors": (
        safe(files.kohya, of("unet3d", read=True), alpha=1.0),
        SUBJECT,
    ),
    "diffusers.safetensors": (safe(files.diffusers, of("unet3d", temporal=True)), MOTION),
    "both-halves.safetensors": (safe(files.diffusers, of("unet3d", temporal=None)), SUBJECT),
    "zoom-in.safetensors": (
        safe(files.motion_lora, of("animatediff", temporal=True)),
        (*ANIMATED, "--kind", "motion"),
    ),
    "comfy.safetensors": (safe(files.comfy, of("wan", temporal=None)), WAN),
    "high-noise.safetensors": (
        safe(files.comfy, of("wan", temporal=None)),
        ("--base", "experts", "--kind", "motion", "--expert", "high"),
    ),
    "peft-folder": (peft_folder(), SUBJECT),
    "learned_embeds.safetensors": (word(**{"<toy>": VECTORS}), UNET),
    "one-vector.safetensors": (word(**{"<toy>": VECTORS[0]}), UNET),
    "embedding.safetensors": (word(emb_params=VECTORS), UNET),
    "sdxl.safetensors": (word(clip_l=VECTORS, clip_g=torch.ones(2, 1280)), UNET),
    "learned_embeds.bin": (saved({"<toy>": VECTORS}), UNET),
    "embedding.pt": (
        saved(
            {"string_to_token": {"*": 265}, "string_to_param": {"*": VECTORS}, "name": "toy"},
            is_old=True,
        ),
        UNET,
    ),
    "identity.pth": (bottlenecks("identity"), UNET),
    "motion.pth": (bottlenecks("motion"), UNET),
    "50_unet.pt": (motion_list, UNET),
}
# And what is the matter: the exit code, and words of the one line.
BAD: dict[str, tuple[Maker, tuple[str, ...], int, str]] = {
    "for-wan.safetensors": (
        safe(files.comfy, of("wan", temporal=None)),
        SUBJECT,
        6,
        "has no place for",
    ),
    "for-unet.safetensors": (safe(files.kohya, of("unet3d")), WAN, 6, "has no place for"),
    "narrow.safetensors": (
        changed(put("attn2_to_k.lora_down.weight", torch.zeros(3, 768))),
        SUBJECT,
        6,
        "from 768 (Stable Diffusion 1 and AnimateDiff)",
    ),
    "sd1-word.safetensors": (word(emb_params=torch.ones(1, 768)), UNET, 6, "768 wide"),
    "sd2-word.safetensors": (word(emb_params=torch.ones(1, 1024)), UNET, 6, "1024 wide"),
    "clip_g.safetensors": (word(clip_g=torch.ones(2, 1280)), UNET, 6, "1280 wide"),
    "word-for-wan.safetensors": (word(emb_params=VECTORS), WAN, 6, "no token table"),
    "two-words.safetensors": (word(a=VECTORS, b=VECTORS.clone()), UNET, 6, "holds 2 words"),
    "motion-as-subject.safetensors": (
        safe(files.diffusers, of("unet3d", temporal=True)),
        SUBJECT,
        6,
        "holds a LoRA of a motion, not of a subject",
    ),
    "no-kind.safetensors": (
        safe(files.comfy, of("wan", temporal=None)),
        ("--base", "wan"),
        6,
        "does not show whether it holds a subject or a motion",
    ),
    "no-expert.safetensors": (
        safe(files.comfy, of("wan", temporal=None)),
        ("--base", "experts", "--kind", "motion"),
        6,
        "which expert",
    ),
    "two-tools.safetensors": (
        changed(add("diffusion_model.blocks.0.self_attn.q.lora_A.weight")),
        SUBJECT,
        6,
        "mixes the keys of several tools",
    ),
    "text-tower.safetensors": (
        changed(add("lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_down.weight")),
        SUBJECT,
        6,
        "LoRA of a text tower of Stable Diffusion XL or Flux",
    ),
    "norms.safetensors": (
        changed(add("lora_unet_mid_block_attentions_0_norm.w_norm")),
        SUBJECT,
        6,
        "norms of layers",
    ),
    "endless-alpha.safetensors": (
        changed(add_alpha(3e38)),
        SUBJECT,
        6,
        "are not finite",
    ),
    "complex.safetensors": (
        changed(put("to_q.lora_up.weight", torch.ones(4, 3, dtype=torch.complex64))),
        SUBJECT,
        5,
        "holds no plain numbers",
    ),
    "endless-folder": (peft_folder(lora_alpha=float("inf")), SUBJECT, 6, "give 'lora_alpha' inf"),
    "listed-folder": (
        peft_folder(alpha_pattern=["attn1"]),
        SUBJECT,
        6,
        "give alpha_pattern ['attn1']",
    ),
    "page.pt": (raw(b"<!DOCTYPE html><html></html>"), SUBJECT, 5, "is a web page"),
    "bomb.pt": (packed(torch.zeros(1 << 20)), SUBJECT, 5, "a zip with compressed parts"),
    "dora.safetensors": (
        changed(add("lora_unet_mid_block_attentions_0_proj_in.dora_scale")),
        SUBJECT,
        6,
        "holds DoRA",
    ),
    "loha.safetensors": (
        changed(add("lora_unet_mid_block_attentions_0_proj_in.hada_w1_a")),
        SUBJECT,
        6,
        "holds LoHa",
    ),
    "lokr.safetensors": (
        changed(add("lora_unet_mid_block_attentions_0_proj_in.lokr_w1")),
        SUBJECT,
        6,
        "holds LoKr",
    ),
    "locon.safetensors": (
        changed(put("attn1_to_q.lora_down.weight", torch.ones(3, 16, 3, 3))),
        SUBJECT,
        6,
        "LoRA of convolutions",
    ),
    "half.safetensors": (changed(lose("lora_up.weight")), SUBJECT, 6, "not a whole LoRA"),
    "unknown.safetensors": (
        changed(add("lora_unet_mid_block_nowhere.lora_down.weight")),
        SUBJECT,
        6,
        "has no place for 1 of the 13 tensors",
    ),
    "nan.safetensors": (
        changed(put("lora_up.weight", torch.full((16, 3), torch.nan))),
        SUBJECT,
        5,
        "not finite",
    ),
    "dora-folder": (peft_folder(use_dora=True), SUBJECT, 6, "holds DoRA"),
    "loha-folder": (peft_folder(peft_type="LOHA"), SUBJECT, 6, "holds LOHA"),
    "pissa-folder": (peft_folder(init_lora_weights="pissa"), SUBJECT, 6, "own weights (pissa)"),
    "empty-folder": (
        lambda path, _: path.mkdir(),
        SUBJECT,
        5,
        "folder without adapter_config.json",
    ),
    "short-list.pt": (saved([torch.ones(4, 2), torch.ones(2, 4)]), UNET, 6, "list of 2 matrices"),
    "weights.pth": (saved({"layer.weight": VECTORS}), UNET, 6, "holds neither"),
    "cut.safetensors": (cut(safe(files.kohya, of("unet3d")), 0.7), SUBJECT, 5, "cannot be read"),
    "cut-header.safetensors": (
        cut(safe(files.kohya, of("unet3d")), 0.02),
        SUBJECT,
        5,
        "cannot be read",
    ),
    "cut.pt": (cut(saved({"<toy>": VECTORS}), 0.5), UNET, 5, "cannot be read"),
    "cut-old.pt": (cut(saved({"<toy>": VECTORS}, is_old=True), 0.6), UNET, 5, "cannot be read"),
    "hostile.pt": (saved({"<toy>": Hostile()}), UNET, 5, "holds more than tensors"),
    "hostile-old.pt": (
        saved({"<toy>": Hostile()}, is_old=True),
        UNET,
        5,
        "holds more than tensors",
    ),
    "endless.pt": (
        saved({"<toy>": torch.ones(1).expand(10**6, 10**6)}),
        UNET,
        5,
        "holds no plain numbers",
    ),
    "laughs.pt": (saved(laughs()), UNET, 5, "more than 100000 entries"),
    "hostile.bin": (raw(pickle.dumps(Hostile())), UNET, 5, "cannot be read"),
    "hostile.safetensors": (saved({"<toy>": Hostile()}), UNET, 5, "holds more than tensors"),
    "zip.safetensors": (zipped, SUBJECT, 5, "cannot be read"),
    "zip.pt": (zipped, SUBJECT, 5, "cannot be read"),
    "picture.png": (raw(b"\x89PNG\r\n\x1a\n" + bytes(40)), UNET, 5, "is a png picture"),
    "text.safetensors": (
        raw(b"version https://git-lfs.github.com/spec/v1"),
        UNET,
        5,
        "a pointer of Git LFS",
    ),
    "empty.safetensors": (raw(b""), UNET, 5, "neither"),
    "missing.safetensors": (lambda _path, _targets: None, UNET, 3, "there is no file"),
}


def line(path: Path, asked: tuple[str, ...], places: dict[str, tuple[str, ...]]) -> list[str]:
    """The command line, names of bases replaced by their places."""
    arguments = ["import", str(path)]
    for word in asked:
        arguments += places.get(word, (word,))
    return [*arguments, "--name", "toy"]


def test_the_list_is_long_enough() -> None:
    assert len(GOOD) + len(BAD) >= 40


@pytest.mark.parametrize("name", GOOD)
def test_a_good_file_becomes_an_adapter_that_acts(
    name: str, *, dv: Dv, places, targets, tmp_path: Path
) -> None:
    """It is there, it is pinned, it reads as the adapter's file it became, and it fits its base."""
    make, asked = GOOD[name]
    path = tmp_path / name
    make(path, targets)
    done = dv(*line(path, asked, places))
    assert done.code == 0, done.err
    refs = done.out.split()
    assert len(refs) == (2 if name.startswith("both") else 1)
    for kind in ("motion", "subject"):
        shown = dv(kind, "path", "toy")
        if shown.code == 0:
            adapter = load_adapter(Path(shown.out.strip()))
            delta = build_delta(adapter, targets[asked[1]].base)
            assert delta.kind == kind
            assert delta.tensors().keys() == adapter.tensors.keys()
            assert dv(kind, "list", "-q").out == "toy\n"
            assert dv(kind, "show", "toy").code == 0


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_ends_in_one_line(
    name: str, *, dv: Dv, places, targets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line says what is wrong, the registry is as it was, and nothing in the file was run."""
    make, asked, code, words = BAD[name]
    path = tmp_path / name
    make(path, targets)
    done = dv(*line(path, asked, places))
    assert (done.code, done.out) == (code, ""), done.err
    errors = done.err.splitlines()
    assert errors[0].startswith("error: ")
    assert words in errors[0]
    assert all(other.startswith("hint: ") for other in errors[1:])
    assert dv("subject", "list", "-q").out + dv("motion", "list", "-q").out == ""
    assert not Path("run-by-a-pickle").exists()


def test_what_was_taken_makes_a_video_that_can_be_made_again(
    dv: Dv, places, targets, tmp_path: Path
) -> None:
    """A LoRA of each half composed with a word: the same bytes from the recipe in the video."""
    for name, make, asked in (
        ("rex", *GOOD["with-text-tower.safetensors"]),
        ("hop", *GOOD["diffusers.safetensors"]),
        ("cat", *GOOD["embedding.safetensors"]),
    ):
        path = tmp_path / f"{name}.safetensors"
        make(path, targets)
        assert dv(*line(path, asked, places)[:-1], name).code == 0
    uses = ("--subject", "rex", "--subject", "cat=0.5", "--motion", "hop")
    made = dv("gen", "rex and cat hop", *uses, "--steps", 1, "-o", "one.mp4", "--json")
    assert made.code == 0, made.err
    assert made.document["prompt_sent"] == "object and <cat> hop"
    assert dv("gen", "--again", "one.mp4", "-o", "two.mp4").code == 0
    assert Path("one.mp4").read_bytes() == Path("two.mp4").read_bytes()


def test_a_word_takes_a_place_for_each_vector_when_a_prompt_is_planned(
    dv: Dv, places, targets, tmp_path: Path
) -> None:
    """The tiny base reads 14 tokens, and the word has two vectors."""
    path = tmp_path / "toy.safetensors"
    make, asked = GOOD["embedding.safetensors"]
    make(path, targets)
    assert dv(*line(path, asked, places)).code == 0
    assert dv("gen", "toy " + "dog " * 12, "--subject", "toy", "-n").code == 0
    refused = dv("gen", "toy " + "dog " * 13, "--subject", "toy", "-n")
    assert refused.code != 0
    assert "the prompt has 15 tokens; this base reads 14" in refused.err


def test_what_two_versions_change_is_told_in_lines_that_can_be_read(
    dv: Dv, places, targets, tmp_path: Path
) -> None:
    """A list of a hundred layers is cut in the table and whole in JSON."""
    for number, make in enumerate((GOOD["kohya.safetensors"][0], changed(lambda _: None))):
        path = tmp_path / f"{number}.safetensors"
        make(path, targets)
        assert dv(*line(path, SUBJECT, places)).code == 0
    told = dv("subject", "diff", "toy:v1", "toy:v2")
    assert max(map(len, told.out.splitlines())) < 200
    found = dv("subject", "diff", "toy:v1", "toy:v2", "--json").document["differences"]
    sites = next(each for each in found if each["field"] == "adapter.sites")
    assert sites["right"] == [slot.path for slot in of("unet3d")(targets)[:6]]


FOREIGN = {
    "kohya.safetensors": "a LoRA",
    "learned_embeds.safetensors": "a learned word",
    "embedding.pt": "a learned word",
    "identity.pth": "bottlenecks of DreamVideo",
    "50_unet.pt": "a list of MotionDirector",
}


@pytest.mark.parametrize("name", FOREIGN)
def test_without_options_a_good_file_is_named_and_told_how_to_be_taken(
    name: str, *, dv: Dv, places, targets, tmp_path: Path
) -> None:
    """The advice works, once BASE is put in."""
    path = tmp_path / name
    GOOD[name][0](path, targets)
    for arguments in (("import", path), ("gen", "a toy", "--subject", path)):
        refused = dv(*arguments)
        if arguments[0] == "gen" and not name.endswith(".safetensors"):
            continue  # any other ending is a reference by its spelling
        assert refused.code == 6
        assert f"holds {FOREIGN[name]}, not made by dv" in refused.err
        advice = refused.err.splitlines()[-1].removeprefix("hint: dv ").removesuffix(" takes it")
    words = advice.replace(" BASE", f" {places['unet3d'][0]}").split()
    assert dv(*words, "--name", "toy").code == 0


@pytest.mark.parametrize("name", FOREIGN)
def test_inspect_tells_what_a_file_is(name: str, *, dv: Dv, targets, tmp_path: Path) -> None:
    path = tmp_path / name
    GOOD[name][0](path, targets)
    found = dv("inspect", path, "--json").document
    kind = "motion" if name.startswith("50_") else "subject"
    assert (found["what"], found["kind"]) == (FOREIGN[name], kind)
    assert found["import"] == f"dv import {path} --kind {kind} --base BASE"


def test_a_unet_of_vgen_becomes_a_base(dv: Dv, places, tmp_path: Path) -> None:
    from tests.engine.formats.test_unet_base import vgen_unet
    from tests.tiny import open_tiny

    (like,) = places["unet3d"]
    path = tmp_path / "unet.pth"
    torch.save(vgen_unet(open_tiny(Path(like)).denoiser), path)
    refused = dv("import", path, "--kind", "subject")
    assert (refused.code, "is a whole UNet of VGen" in refused.err) == (6, True)
    made = dv("base", "import", path, "--like", like, "-o", "./new", "--json")
    assert made.code == 0, made.err
    shown = dv("base", "show", "./new", "--json").document
    assert shown["fingerprint"] == made.document["fingerprint"]
    assert dv("base", "import", path, "--like", like, "-o", "./new").code == 4


def test_a_bundle_of_our_own_says_itself_what_it_is(dv: Dv, learned, places) -> None:
    elsewhere = ("--registry", str(learned.registry))
    assert dv("subject", "export", "corgi", "-o", "corgi.dva", *elsewhere).code == 0
    refused = dv("import", "corgi.dva", "--kind", "subject")
    assert (refused.code, "was made by dv" in refused.err) == (2, True)
    assert refused.err.endswith("hint: leave --kind out\n")


def test_a_pipe_brings_no_file_of_another_tool(dv: Dv, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"")))
    assert dv("import", "-", "--kind", "subject").code == 2


def test_a_file_may_be_too_large(dv: Dv, places, targets, tmp_path: Path) -> None:
    path = tmp_path / "kohya.safetensors"
    GOOD["kohya.safetensors"][0](path, targets)
    refused = dv(*line(path, SUBJECT, places), "--max-size", "1K")
    assert (refused.code, "--max-size" in refused.err) == (2, True)
