"""What was given where a base was wanted: each mistake is named for what it is, with what would do."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from engine.bases.families import FAMILIES
from engine.bases.folder import INDEX, read_header, read_json
from engine.bases.hub_cache import hub_id_of, is_snapshot
from engine.bases.kinds import LIST, Kind, find_kind
from engine.bases.motion_module import USUAL as USUAL_MODULE
from engine.bases.names.releases import RELEASES
from engine.errors import BaseInvalidError, BaseNotFoundError, EngineError

WEIGHTS = frozenset((".safetensors", ".ckpt", ".pth", ".pt", ".bin", ".gguf", ".onnx"))
PICTURES = frozenset((".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".heic"))
CLIPS = frozenset((".mp4", ".mov", ".webm", ".mkv", ".avi"))
SAVED = "a base is a folder as a diffusers pipeline saves it, with model_index.json"
ADAPTER_KEY = "dreamvideo"  # of what an adapter's file says of itself
MOTION_HINT = f"with a motion module of AnimateDiff it moves: --motion-module {USUAL_MODULE}"
NAMES = ("mini", *RELEASES)
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
PARTS = frozenset(
    ("unet", "vae", "text_encoder", "tokenizer", "scheduler", "transformer", "transformer_2")
)


def explain_name(name: str, *, has_motion_module: bool = False) -> EngineError:
    """Why nothing on this machine is the base called ``name``, which is no path; a motion module makes images move."""
    if (fault := find_fault(name)) is not None:
        return fault
    if "/" in name:
        return explain_hub_id(name, has_motion_module=has_motion_module)
    return _not_here(name, name)


def find_fault(name: str) -> EngineError | None:
    """What is wrong with a name that is no path: no base could have it, here or on the hub; None where one could."""
    if spelled := _respell(name):
        return BaseNotFoundError(f"no base is called {name!r}", hint=f"its name is {spelled}")
    if name and Path(name).exists():
        message = f"no base is called {name!r}, and there is a path of that name"
        return BaseNotFoundError(message, hint=f"a path starts with ./: ./{name}")
    if "/" in name and not HUB_ID.fullmatch(name):
        hint = "a hub id is written owner/name, and a path starts with ./"
        return BaseNotFoundError(f"no base is called {name!r}", hint=hint)
    return None if "/" in name or name in RELEASES else _explain_word(name)


def require_parts(snapshot: Path) -> None:
    """Find a download that was cut short before its configs are read.

    Raises:
        BaseInvalidError: a part that ``model_index.json`` names is missing from this revision of the hub.
    """
    for part, library in read_json(snapshot / INDEX).items():
        is_there = part not in PARTS or any((snapshot / part).glob("*.json"))
        if isinstance(library, list) and library[0] is not None and not is_there:
            hub_id = hub_id_of(snapshot)
            message = f"base {hub_id} is half fetched: {snapshot / part} is missing"
            raise BaseInvalidError(message, hint=f"dv base pull {hub_id} goes on")


def _explain_word(word: str) -> EngineError:
    if ":" in word or "@" in word:
        return BaseInvalidError(
            f"{word!r} is written like a learned subject or motion, and those are no bases",
            hint="--subject and --motion take them; " + LIST,
        )
    if near := _nearest(word):
        return BaseNotFoundError(f"no base is called {word!r}", hint=f"did you mean {near}?")
    if (kind := find_kind(word)) is not None:
        return _of_kind(word, kind)
    return BaseNotFoundError(
        f"no base is called {word!r}",
        hint=f"known: {', '.join(NAMES)}; or a hub id owner/name; or a path that starts with ./",
    )


def explain_hub_id(hub_id: str, *, has_motion_module: bool = False) -> EngineError:
    """Why the repository of this name is not at hand; it is offered only where a family may open it."""
    if (known := _explain_known_id(hub_id)) is not None:
        return known
    if (kind := find_kind(hub_id)) is not None and not (kind.is_image_model and has_motion_module):
        return _of_kind(hub_id, kind)
    hint = f"dv base pull {hub_id}"
    if kind is None:
        hint += f", if its model_index.json names one of {', '.join(FAMILIES)}"
        hint += f"; or did you mean {near}?" if (near := _nearest(hub_id)) else ""
    return BaseNotFoundError(f"base {hub_id} is not on this machine", hint=hint)


def _explain_known_id(hub_id: str) -> EngineError | None:
    """Of a repository that a known base is made of, or that its makers lay out in another way; None of others."""
    for name, release in RELEASES.items():
        of = {source.hub_id: source.role for source in release.sources}
        role = of.get(hub_id)
        if role == "base" and find_kind(hub_id) is None:
            return _not_here(name, hub_id)
        if role not in {None, "base"}:
            message = f"{hub_id} is the {role} of {name}, and no base"
            return BaseInvalidError(message, hint=f"the base is called {name}")
        if release.hub_id.lower() == f"{hub_id}-diffusers".lower():
            message = f"{hub_id} is {name} as its makers lay it out, in .pth files"
            return BaseInvalidError(message, hint=f"the one that dv reads is called {name}")
    return None


def _not_here(name: str, given: str) -> BaseNotFoundError:
    """A known base, given by its name or its hub id, is not here."""
    return BaseNotFoundError(f"base {given} is not on this machine", hint=f"dv base pull {name}")


def explain_path(path: Path, name: str) -> EngineError:
    """Why the path ``name``, which is no folder, is no base."""
    if not path.exists():
        near = get_close_matches(path.name, _folders_beside(path), n=1)
        hint = f"did you mean {path.parent / near[0]}?" if near else LIST
        return BaseNotFoundError(f"base {name}: no such folder", hint=hint)
    what, hint = _describe_file(path)
    return BaseInvalidError(f"{name} is {what}, not a base", hint=hint)


def explain_folder(folder: Path) -> BaseInvalidError:
    """Why a folder without ``model_index.json`` is no base."""
    what, hint = _describe_folder(folder)
    return BaseInvalidError(
        f"{folder} is not a base: {what}; it has no model_index.json", hint=hint
    )


def _respell(name: str) -> str | None:
    """The known name or hub id that ``name`` is but for its case, or that is in its address on the web."""
    known = [*NAMES, *(release.hub_id for release in RELEASES.values())]
    by_lower = {each.lower(): each for each in known}
    if "://" in name or name.lower().startswith(("huggingface.co/", "hf.co/")):
        address = name.partition("://")[2] or name
        hub_id = "/".join(address.rstrip("/").split("/")[1:3])
        return by_lower.get(hub_id.lower(), hub_id) or None
    exact = by_lower.get(name.strip().lower())
    return exact if exact != name else None


def _nearest(name: str) -> str | None:
    """The name of a base that can be used and that ``name`` is nearest to, or begins."""
    hub_ids = [each.hub_id for each in RELEASES.values()]
    by_lower = {each.lower(): each for each in (*NAMES, *hub_ids)}
    begun = [each for each in NAMES if name and each.startswith(name.lower())]
    near = begun or get_close_matches(name.lower(), by_lower, n=1, cutoff=0.75)
    return by_lower[near[0]] if near else None


def _of_kind(name: str, kind: Kind) -> BaseInvalidError:
    hint = MOTION_HINT if kind.is_image_model else kind.hint
    return BaseInvalidError(f"{name} is {kind.what}", hint=hint)


def _folders_beside(path: Path) -> list[str]:
    try:
        return [each.name for each in path.parent.iterdir() if each.is_dir()]
    except OSError:
        return []


def _describe_file(path: Path) -> tuple[str, str]:
    """What a file is, by its ending and, of .safetensors, by the names in its header; and what would do."""
    ending = path.suffix.lower()
    if ending == ".dva":
        return "a bundle of learned subjects and motions", f"dv import {path.name} takes it; {LIST}"
    if path.name == "model_index.json":
        return "the index of a folder", f"the folder itself: {path.parent}"
    if ending in PICTURES | CLIPS:
        kind = "a picture" if ending in PICTURES else "a clip"
        return kind, "subjects and motions are learned from these; " + LIST
    if ending == ".safetensors":
        return _describe_safetensors(path)
    if ending in WEIGHTS:
        return f"a single file of weights ({ending})", SAVED
    return "a file", SAVED


# What the names of a file's tensors contain, what the file is, and what would do.
TENSORS: Sequence[tuple[tuple[str, ...], str, str]] = (
    (("lora_", ".lora", "lora."), "a LoRA, which changes a base and is none", LIST),
    (
        ("motion_modules.",),
        "a single motion module of AnimateDiff",
        f"the folder of one: {USUAL_MODULE}",
    ),
    (
        ("model.diffusion_model.", "cond_stage_model."),
        "a checkpoint in one file",
        "diffusers makes a folder of it: StableDiffusionPipeline.from_single_file, save_pretrained",
    ),
    (("blocks.0.self_attn", "blocks.0.attn1"), "the transformer alone", SAVED),
)


def _describe_safetensors(path: Path) -> tuple[str, str]:
    header: dict[str, Any] = {}
    with suppress(OSError, ValueError):
        header, _ = read_header(path)
    if ADAPTER_KEY in header.get("__metadata__", {}):
        return "a learned adapter", f"dv import takes it; {LIST}"
    for words, what, hint in TENSORS:
        if any(word in name for name in header for word in words):
            return what, hint
    return "a single file of weights (.safetensors)", SAVED


def _describe_folder(folder: Path) -> tuple[str, str]:
    """What a folder holds, and what would do."""
    try:
        names = {each.name for each in folder.iterdir()}
    except OSError as error:
        return f"it cannot be read ({error.strerror})", SAVED
    visible = {name for name in names if not name.startswith(".")}
    if not visible:
        return "it is empty", SAVED
    return (
        _describe_cache(folder, names)
        or _describe_model(folder, names)
        or _describe_layout(folder, names)
        or _describe_files(visible)
    )


def _describe_cache(folder: Path, names: Iterable[str]) -> tuple[str, str] | None:
    """A cache of the hub, whose snapshots are the folders that count."""
    repositories = sorted(name for name in names if name.startswith("models--"))
    if repositories:
        hub_id = repositories[0].removeprefix("models--").replace("--", "/")
        return "it is a cache of the hub", f"by its id: --base {hub_id}"
    if "snapshots" in names:
        found = sorted((folder / "snapshots").glob("*/model_index.json"))
        inner = found[-1].parent if found else None
        hint = f"the folder of one revision: {inner}" if inner else "it holds no whole base"
        return "it is one repository in a cache of the hub", hint
    if is_snapshot(folder):
        return "it is half fetched", f"dv base pull {hub_id_of(folder)} goes on"
    return None


def _describe_model(folder: Path, names: Iterable[str]) -> tuple[str, str] | None:
    """One part of a pipeline, or a model that stands beside a base."""
    if "adapter_config.json" in names:
        return "it is a LoRA as peft saves it, which changes a base and is none", LIST
    for config in ("config.json", "scheduler_config.json", "tokenizer_config.json"):
        if config in names:
            return _describe_part(folder, _read_object(folder / config))
    return None


def _describe_part(folder: Path, config: Mapping[str, Any]) -> tuple[str, str]:
    name = str(config.get("_class_name") or next(iter(config.get("architectures") or []), ""))
    if name == "MotionAdapter":
        return "it is a motion module, which moves an image model", f"--motion-module {folder}"
    if name.startswith("CLIP") and "Text" not in name:
        return "it is an image tower", f"--image-tower {folder}"
    if (folder.parent / "model_index.json").is_file():
        return f"it is one part of a base ({name or folder.name})", f"the whole: {folder.parent}"
    if name == "WanModel":
        return "it is Wan as its makers lay it out", "its folder whose name ends in -Diffusers"
    return f"it is one model ({name})" if name else "it is one model", SAVED


def _describe_layout(folder: Path, names: set[str]) -> tuple[str, str] | None:
    """Folders that are other things in full."""
    if "configuration.json" in names and any(name.endswith((".pth", ".ckpt")) for name in names):
        return "it is ModelScope's own layout, in .pth files", "dv base pull modelscope"
    if PARTS & names:
        missing = (
            "its download was cut short" if (folder / ".cache").is_dir() else "it is not whole"
        )
        return f"{missing}, with {', '.join(sorted(PARTS & names))}", SAVED
    if {"blobs", "manifests"} <= names or "registry.toml" in names:
        return "it is a registry of what was learned", LIST
    return None


def _describe_files(names: set[str]) -> tuple[str, str]:
    endings = {Path(name).suffix.lower() for name in names}
    if endings <= PICTURES:
        return "it is a folder of pictures", "dv subject learn takes it; " + LIST
    if endings <= PICTURES | CLIPS:
        return "it is a folder of clips", "dv motion learn takes them; " + LIST
    if files := sorted(name for name in names if Path(name).suffix.lower() in WEIGHTS):
        return f"it holds weights alone ({files[0]})", SAVED
    return "it holds other things", SAVED


def _read_object(path: Path) -> Mapping[str, Any]:
    with suppress(BaseInvalidError):
        return read_json(path)
    return {}
