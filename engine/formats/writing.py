"""Our adapters as files of other tools, where those have a place for what an adapter holds."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from engine.adapters.bank import READER
from engine.adapters.file import WORD, Adapter, AdapterFacts, Storage, load_adapter
from engine.drafts import refusal
from engine.errors import IncompatibleError, RecipeError
from engine.formats.opening import PEFT_CONFIG, PEFT_WEIGHTS
from engine.formats.spellings import EXPERTS, SPELLINGS, Layer, Spelling, spell_peft
from engine.formats.words import A1111_KEY
from engine.media.output.staging import staged

# What people call the storages, in errors.
STORED: Mapping[Storage, str] = {
    "bottlenecks": "bottlenecks",
    "low-rank": "low-rank layers",
    "full-rank": "whole differences of weights",
    "reference": "photos that are read",
    "word": "a learned word",
}


@dataclass(frozen=True, slots=True)
class Written:
    """A foreign file that was written."""

    path: Path  # of the file or, of peft, of the folder
    loads_in: str  # what reads it
    prompt: str  # what prompts must say there
    # of whole differences written as low rank, the share of their squares that is left; else None
    kept: float | None = None


@dataclass(frozen=True, slots=True)
class _Home:
    """A place for one kind of adapter in the files of a tool."""

    # writes an adapter to a draft of the file, which will have this ending
    write: Callable[[Adapter, Path, str], None]
    endings: tuple[str, ...]  # that the file may have; "" of a folder
    loads_in: str  # what reads it


def choose_home(adapter: Adapter, tool: str, label: str) -> _Home:
    """Where a tool's files have a place for an adapter.

    Raises:
        RecipeError: no tool is called so.
        IncompatibleError: they have none; the hint says what has.
    """
    if tool not in TOOLS:
        raise RecipeError(f"no format is called {tool!r}", hint="one of: " + ", ".join(TOOLS))
    facts = adapter.facts
    homes = _homes(adapter)
    if tool in homes:
        return homes[tool]
    what = STORED[facts.storage]
    if facts.storage == "full-rank" and tool in _homes(_named_low_rank(adapter)):
        raise IncompatibleError(
            f"{label} is {what}, which a file of {TOOLS[tool]} has no place for",
            hint="--rank 32 writes the low-rank layers that are nearest to them",
            code="format.no_home",
        )
    family = _family(adapter)
    others = " or ".join(f"--format {name}" for name in homes)
    raise IncompatibleError(
        f"{label} is {what} for a base of the family {family}, which a file of {TOOLS[tool]} has no place for",
        hint=f"{others} has one" if others else _own_home(facts, label),
        code="format.no_home",
    )


def _own_home(facts: AdapterFacts, label: str) -> str:
    return (
        f"dv {facts.kind} export {label} -o {label.partition(':')[0]}.dva carries it to another dv"
    )


def check_path(home: _Home, tool: str, path: Path) -> None:
    """See that a file of this name can be what the tool reads.

    Raises:
        RecipeError: its ending is another kind of file's.
    """
    if path.suffix.lower() in home.endings or ("" in home.endings and not path.suffix):
        return
    if "" in home.endings:
        hint = f"-o {path.with_suffix('')}: {tool} reads a folder"
    else:
        hint = f"-o {path.with_suffix(home.endings[0]).name}"
    raise RecipeError(f"{path.name} is no name for what {TOOLS[tool]} reads", hint=hint)


def write_foreign(
    file: Path,
    tool: str,
    path: Path,
    *,
    label: str,
    expert: str | None = None,
    rank: int | None = None,
    overwrite: bool = False,
) -> Written:
    """Write an adapter as a file of another tool, whole or not at all.

    Args:
        file: of the adapter, ours.
        tool: a name in `TOOLS`.
        path: the new file; of peft the folder.
        label: what people call the adapter.
        expert: ``high`` or ``low``: the layers of one of two experts, or None.
        rank: of the low-rank layers that whole differences of weights are written as, or None.
        overwrite: replace a file that is there.

    Raises:
        IntegrityError: the adapter's file is damaged.
        RecipeError: there is no such tool, or it reads no file of that name.
        IncompatibleError: the tool has no place for it.
        OutputExistsError: there is a file, and it may not be replaced; or a folder.
        OutputError: the disk refuses.
    """
    adapter, kept = _of_expert(load_adapter(file), expert, label), None
    if rank is not None:
        adapter, kept = _factor(adapter, rank, label)
    home = choose_home(adapter, tool, label)
    check_path(home, tool, path)
    try:
        with staged(path, overwrite=overwrite) as draft:
            home.write(adapter, draft, path.suffix.lower())
    except SafetensorError as error:
        raise refusal(str(path), error) from error
    facts = adapter.facts
    return Written(path, home.loads_in, facts.token or facts.phrase, kept)


def _factor(adapter: Adapter, rank: int, label: str) -> tuple[Adapter, float]:
    """Whole differences as the nearest low-rank layers, and the share of their squares that these keep.

    ``ΔW = U·S·Vᵀ`` is cut to its largest S, of which B and A take the root each (Eckart and Young).
    """
    facts, changes = adapter.facts, adapter.bank_tensors
    if facts.storage != "full-rank":
        raise RecipeError(
            f"{label} is {STORED[facts.storage]}, and --rank is for whole differences of weights",
            hint="leave --rank out",
        )
    wide = [n for n, t in changes.items() if t.ndim not in {2, 4} or t.shape[2:].numel() > 1]
    if wide:
        raise IncompatibleError(
            f"{len(wide)} of the {len(changes)} layers that {label} changes are convolutions of several pixels or"
            f" along time, which have no low rank in files of other tools: {wide[0]}",
            hint=_own_home(facts, label),
            code="format.no_home",
        )
    tensors, lost, whole = {}, 0.0, 0.0
    for name, change in changes.items():
        u, s, vh = torch.linalg.svd(change.flatten(1).float(), full_matrices=False)
        root, path = s[:rank].sqrt(), name.removesuffix(".weight")
        tensors[f"{path}.down.weight"] = root[:, None] * vh[:rank]
        tensors[f"{path}.up.weight"] = u[:, :rank] * root
        lost, whole = lost + float(s[rank:].square().sum()), whole + float(s.square().sum())
    return replace(_named_low_rank(adapter), tensors=tensors), 1 - lost / (whole or 1.0)


def _named_low_rank(adapter: Adapter) -> Adapter:
    """The facts of an adapter of whole differences as if they were low rank."""
    pixels = [n.removesuffix(".weight") for n, t in adapter.bank_tensors.items() if t.ndim == 4]
    recipe = {**adapter.facts.recipe, "convolutions": pixels}
    facts = msgspec.structs.replace(adapter.facts, storage="low-rank", recipe=recipe)
    return replace(adapter, facts=facts)


def _of_expert(adapter: Adapter, expert: str | None, label: str) -> Adapter:
    """The adapter with the layers of one expert alone: other tools' files are for one denoiser."""
    sites = adapter.facts.sites
    starts = {site.name.partition(".")[0] for site in sites}
    there = {name: start for name, start in EXPERTS.items() if start in starts}
    if expert is None and len(there) < 2:
        return adapter
    if expert not in there:
        has = f"has layers of {' and '.join(there)}" if there else "is of a base without experts"
        raise RecipeError(
            f"{label} {has}; a file of another tool is for one denoiser",
            hint=f"--expert {' or --expert '.join(there)}" if there else "leave --expert out",
        )
    own = tuple(site for site in sites if site.name.startswith(f"{there[expert]}."))
    return replace(adapter, facts=msgspec.structs.replace(adapter.facts, sites=own))


def _homes(adapter: Adapter) -> Mapping[str, _Home]:
    """Every tool that has a place for an adapter."""
    facts, family = adapter.facts, _family(adapter)
    if facts.storage == "word" and facts.word_at == "input":
        return WORD_HOMES
    if facts.storage != "low-rank":
        return {}
    homes = {}
    if all(spell_peft(layer) for layer in _layers(adapter).values()):
        loads_in = "peft: PeftModel.from_pretrained on the denoiser"
        homes["peft"] = _Home(_write_peft, ("",), loads_in)
    for tool, spelling in _spellings(family, facts.kind).items():
        if all(spelling.spell(layer) for layer in _layers(adapter).values()):
            loads_in = LOADS_IN[tool, "wan" if family == "wan" else facts.kind]
            homes[tool] = _Home(_writer(spelling), (".safetensors",), loads_in)
    return homes


def _spellings(family: str, kind: str) -> Mapping[str, Spelling]:
    """How each tool spells the layers of a family."""
    own = {spelling.name: spelling for spelling in SPELLINGS}
    if family == "wan":
        return {name: own[name] for name in ("diffusers", "kohya", "comfy")}
    if family != "animatediff":
        return {}  # no class of diffusers but its UNet3D, which loads no LoRA
    if kind == "motion":
        return {"diffusers": own["diffusers"], "comfy": own["animatediff"]}
    return {
        "diffusers": own["diffusers"],
        **dict.fromkeys(("kohya", "a1111", "comfy"), own["kohya"]),
    }


LOADS_IN: Mapping[tuple[str, str], str] = {
    ("diffusers", "subject"): "diffusers: load_lora_weights of its pipelines",
    ("diffusers", "motion"): "diffusers: load_lora_weights of AnimateDiffPipeline",
    ("diffusers", "wan"): "diffusers: load_lora_weights of WanPipeline",
    ("kohya", "subject"): "kohya's scripts, A1111 and ComfyUI",
    ("kohya", "wan"): "musubi-tuner and ComfyUI",
    ("a1111", "subject"): "A1111 and ComfyUI",
    ("comfy", "subject"): "ComfyUI: LoraLoader",
    ("comfy", "motion"): "AnimateDiff and AnimateDiff-Evolved: a motion LoRA",
    ("comfy", "wan"): "ComfyUI: LoraLoaderModelOnly",
}
TOOLS: Mapping[str, str] = {
    "diffusers": "diffusers",
    "kohya": "kohya's scripts",
    "peft": "peft",
    "a1111": "A1111",
    "comfy": "ComfyUI",
}


def _family(adapter: Adapter) -> str:
    return adapter.facts.base.architecture.partition("/")[0]


def _layers(adapter: Adapter) -> dict[str, Layer]:
    """Each site as `Spelling` knows it."""
    usual = "transformer" if _family(adapter) == "wan" else "unet"
    parts = {site.name: site.name.partition(".") for site in adapter.facts.sites}
    return {
        name: Layer(first, rest) if first in {*EXPERTS.values(), READER} else Layer(usual, name)
        for name, (first, _, rest) in parts.items()
    }


def _pairs(adapter: Adapter) -> dict[str, tuple[Tensor, Tensor]]:
    """A and B of each site, those of a convolution of single pixels as convolutions: (out, in, 1, 1)."""
    pairs = {}
    for site in adapter.facts.sites:
        down, up = (adapter.tensors[f"{site.name}.{part}.weight"] for part in ("down", "up"))
        if site.name in adapter.facts.recipe.get("convolutions", ()):
            down, up = down[:, :, None, None], up[:, :, None, None]
        pairs[site.name] = down, up
    return pairs


def _writer(spelling: Spelling) -> Callable[[Adapter, Path, str], None]:
    """Writes low-rank layers in one spelling."""

    def write(adapter: Adapter, path: Path, _ending: str) -> None:
        layers = _layers(adapter)
        tensors: dict[str, Tensor] = {}
        for name, (down, up) in _pairs(adapter).items():
            stem = spelling.spell(layers[name])
            tensors[f"{stem}{spelling.down}"], tensors[f"{stem}{spelling.up}"] = down, up
            if spelling.has_alpha:
                tensors[f"{stem}.alpha"] = torch.tensor(float(down.shape[0]))
        _save(tensors, path)

    return write


def _write_peft(adapter: Adapter, folder: Path, _ending: str) -> None:
    """A folder as `PeftModel.from_pretrained` reads it; α is the rank, for α/r is part of B."""
    layers, pairs = _layers(adapter), _pairs(adapter)
    tensors, ranks = {}, {}
    for name, (down, up) in pairs.items():
        own = layers[name].path
        ranks[own] = down.shape[0]
        tensors[f"base_model.model.{own}.lora_A.weight"] = down
        tensors[f"base_model.model.{own}.lora_B.weight"] = up
    most = max(ranks.values())
    others = {own: rank for own, rank in ranks.items() if rank != most}
    config: dict[str, Any] = {
        "peft_type": "LORA",
        "inference_mode": True,
        "r": most,
        "lora_alpha": most,
        "rank_pattern": others,
        "alpha_pattern": others,
        "target_modules": sorted(ranks),
    }
    folder.mkdir()
    _save(tensors, folder / PEFT_WEIGHTS)
    (folder / PEFT_CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True), "utf-8")


def _write_word(key: str | None) -> Callable[[Adapter, Path, str], None]:
    """Writes a word's vectors (n, d) under one key; None: under the word's own placeholder."""

    def write(adapter: Adapter, path: Path, ending: str) -> None:
        vectors = torch.atleast_2d(adapter.tensors[WORD])
        if ending == ".safetensors":
            _save({key or adapter.facts.token: vectors}, path)
            return
        name = adapter.facts.token.strip("<>")
        plain = {
            "string_to_token": {"*": 265},  # the id of "*" in CLIP's vocabulary
            "string_to_param": {"*": vectors.clone()},
            "name": name,
            "step": 0,
            "sd_checkpoint": None,
            "sd_checkpoint_name": None,
        }
        torch.save(plain, path)

    return write


def _save(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write tensors, each with memory of its own."""
    plain = {name: tensor.clone().contiguous() for name, tensor in tensors.items()}
    save_file(plain, path, metadata={"format": "pt"})


WORD_HOMES: Mapping[str, _Home] = {
    "diffusers": _Home(
        _write_word(None), (".safetensors",), "diffusers: load_textual_inversion of its pipelines"
    ),
    "a1111": _Home(_write_word(A1111_KEY), (".safetensors", ".pt"), "A1111: the folder embeddings"),
    "kohya": _Home(_write_word(A1111_KEY), (".safetensors",), "kohya's scripts and A1111"),
    "comfy": _Home(
        _write_word(A1111_KEY), (".safetensors",), "ComfyUI: the folder models/embeddings"
    ),
}
