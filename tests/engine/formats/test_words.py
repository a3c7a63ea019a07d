"""Learned words in every layout: what diffusers makes of a file and what we make of it is the same, bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from engine.adapters.delta import build_delta
from engine.adapters.file import Adapter
from engine.errors import IncompatibleError
from engine.formats.opening import open_file
from engine.formats.reading import propose_name
from engine.formats.writing import write_foreign
from tests.engine.formats import files
from tests.engine.formats.conftest import Convert
from tests.tiny import TEXT_WIDTH

pytestmark = pytest.mark.filterwarnings("ignore")


def vectors(count: int = 2, width: int = TEXT_WIDTH) -> Tensor:
    return files.Draws(3)(count, width)


def a1111(found: Tensor, *, as_module: bool = False) -> dict[str, Any]:
    """A checkpoint of A1111; ``as_module``: as VGen saves it, parameters in a module of torch."""
    if as_module:
        params: Any = torch.nn.ParameterDict({"*": torch.nn.Parameter(found)})
        return {"string_to_token": {"*": torch.tensor(265)}, "string_to_param": params}
    return {
        "string_to_token": {"*": 265},
        "string_to_param": {"*": torch.nn.Parameter(found)},
        "name": "toy",
        "step": 500,
        "sd_checkpoint": None,
        "sd_checkpoint_name": None,
    }


def write(layout: str, path: Path, found: Tensor) -> Path:
    """A file of one layout."""
    if layout == "a1111.pt":
        torch.save(a1111(found), path.with_suffix(".pt"))
        return path.with_suffix(".pt")
    if layout == "vgen.pt":
        torch.save(a1111(found, as_module=True), path.with_suffix(".pt"))
        return path.with_suffix(".pt")
    if layout == "diffusers.bin":
        torch.save({"<toy>": found}, path.with_suffix(".bin"))
        return path.with_suffix(".bin")
    tensors = {
        "diffusers": {"<toy>": found},
        "diffusers, one vector": {"<toy>": found[0]},
        "kohya": {"emb_params": found},
        "sdxl": {"clip_l": found, "clip_g": torch.ones(2, 1280)},
    }[layout]
    return files.saved(tensors, path)


LAYOUTS = (
    "diffusers",
    "diffusers, one vector",
    "diffusers.bin",
    "kohya",
    "a1111.pt",
    "vgen.pt",
    "sdxl",
)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_its_vectors(layout: str, converted: Convert, tmp_path: Path) -> None:
    found = vectors()
    (adapter,) = converted(write(layout, tmp_path / "w.safetensors", found), "unet3d")
    expected = found[:1] if "one vector" in layout else found
    assert torch.equal(adapter.tensors["word.vector"], expected)
    facts = adapter.facts
    assert (facts.kind, facts.storage, facts.token) == ("subject", "word", "<corgi>")


def encode(base: Any, adapter: Adapter, prompt: str) -> Tensor:
    words = build_delta(adapter, base).words(base)
    found: Tensor = base.encode_text([prompt], words).features
    return found


@pytest.mark.parametrize("tool", ["diffusers", "a1111", "kohya", "comfy"])
def test_diffusers_reads_a_prompt_as_we_do(
    tool: str, converted: Convert, locations, bases, tmp_path: Path
) -> None:
    """Two vectors in the middle of a prompt, loaded by `load_textual_inversion` of a pipeline."""
    from diffusers import StableDiffusionPipeline

    (adapter,) = converted(write("kohya", tmp_path / "w.safetensors", vectors()), "animatediff")
    file = tmp_path / "converted-w" / "subject.safetensors"
    write_foreign(file, tool, tmp_path / "out.safetensors", label="corgi:v1")
    pipeline = StableDiffusionPipeline.from_pretrained(
        locations["animatediff"].folder, safety_checker=None
    )
    pipeline.load_textual_inversion(str(tmp_path / "out.safetensors"), token="<corgi>")
    prompt = "a photo of <corgi> on grass"
    theirs, _ = pipeline.encode_prompt(prompt, torch.device("cpu"), 1, False)
    assert torch.equal(theirs, encode(bases["animatediff"], adapter, prompt))


@pytest.mark.parametrize("tool", ["diffusers", "a1111", "kohya", "comfy"])
def test_a_word_goes_out_and_comes_back(tool: str, converted: Convert, tmp_path: Path) -> None:
    converted(write("diffusers", tmp_path / "w.safetensors", vectors()), "unet3d")
    file = tmp_path / "converted-w" / "subject.safetensors"
    endings = [".safetensors", *([".pt"] if tool == "a1111" else [])]
    for ending in endings:
        path = tmp_path / f"out{ending}"
        write_foreign(file, tool, path, label="corgi:v1")
        (again,) = converted(path, "unet3d")
        assert torch.equal(again.tensors["word.vector"], vectors())


def test_the_class_words_own_vectors_read_like_it(
    converted: Convert, bases, tmp_path: Path
) -> None:
    """Bit for bit: the base's own rows come out as the base's own features."""
    base = bases["unet3d"]
    own = base.start_word("dog")
    path = files.saved({"<toy>": own.clone()}, tmp_path / "w.safetensors")
    (adapter,) = converted(path, "unet3d", class_word="dog")
    plain = base.encode_text(["a dog on grass"], {}).features
    assert torch.equal(encode(base, adapter, "a <corgi> on grass"), plain)


def test_another_width_names_both_and_whose_they_are(converted: Convert, tmp_path: Path) -> None:
    path = files.saved({"emb_params": torch.ones(2, 768)}, tmp_path / "w.safetensors")
    with pytest.raises(IncompatibleError) as refused:
        converted(path, "unet3d")
    assert "768 wide (Stable Diffusion 1 and AnimateDiff)" in refused.value.message
    assert f"takes {TEXT_WIDTH}" in refused.value.message


def test_a_base_without_a_token_table_takes_no_word(converted: Convert, tmp_path: Path) -> None:
    path = files.saved({"<toy>": vectors()}, tmp_path / "w.safetensors")
    with pytest.raises(IncompatibleError, match="no token table"):
        converted(path, "wan")


def test_a_file_of_several_words_is_refused(converted: Convert, tmp_path: Path) -> None:
    path = files.saved({"<a>": vectors(), "<b>": vectors()}, tmp_path / "w.safetensors")
    with pytest.raises(IncompatibleError, match="holds 2 words"):
        converted(path, "unet3d")


@pytest.mark.parametrize(
    ("layout", "name"),
    [("diffusers", "toy"), ("a1111.pt", "toy"), ("vgen.pt", "w"), ("kohya", "w")],
)
def test_a_word_proposes_its_name(layout: str, name: str, tmp_path: Path) -> None:
    path = write(layout, tmp_path / "w.safetensors", vectors())
    assert propose_name(open_file(path)) == name
