"""The file of an adapter: safetensors with one metadata key that explains it when it is found alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import msgspec
import torch
from msgspec import Struct
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from engine.drafts import drafted, refusal
from engine.errors import IncompatibleError, IntegrityError

Kind = Literal["subject", "motion", "joint"]
# Layers at sites that read and write the stream, low-rank layers beside linear ones, whole changes of weights, photos
# with low-rank layers that read them, or no layers at all.
Storage = Literal["bottlenecks", "low-rank", "full-rank", "reference", "word"]
METADATA_KEY = "dreamvideo"
SCHEMA = "dv.adapter/1"
# Names of tensors that are no layers': the learned word (d,), appearance vectors (n, d), photos that are read
# (n, c, 1, h, w) and their masks (n, 1, 1, h, w).
WORD, APPEARANCE = "word.vector", "appearance.features"
PHOTOS, MASKS = "reference.latents", "reference.masks"


class SiteFact(Struct, frozen=True, forbid_unknown_fields=True):
    """A site as a file remembers it."""

    name: str
    width: int


class BaseFact(Struct, frozen=True, forbid_unknown_fields=True):
    """The base an adapter was learned on."""

    id: str
    revision: str
    fingerprint: str
    licence: str
    architecture: str


class InputFact(Struct, frozen=True, forbid_unknown_fields=True):
    """A photo or clip by file name and SHA-256 of its bytes."""

    name: str
    digest: str


class AdapterFacts(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is certain of an adapter; equal runs have equal facts and so equal files.

    ``method`` is how it was learned and ``storage`` what its tensors are. ``image_tower`` is its fingerprint, or ""
    where the base had none. ``token`` and ``phrase`` are a subject's word and class word, or a motion's "" and
    caption. ``width_ratio`` is that of bottlenecks. ``word_at`` says where the word stands; see
    `engine.bases.families.Family`.
    """

    schema: str = SCHEMA
    method: str = "dreamvideo"
    storage: Storage = "bottlenecks"
    word_at: Literal["input", "output"] = "input"
    kind: Kind
    base: BaseFact
    image_tower: str
    token: str
    phrase: str
    width_ratio: float | None
    condition_width: int | None
    sites: tuple[SiteFact, ...]
    recipe: dict[str, Any]
    inputs: tuple[InputFact, ...]


@dataclass(frozen=True)
class Adapter:
    """An adapter read from its file: facts and tensors on the CPU."""

    facts: AdapterFacts
    tensors: Mapping[str, Tensor]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of facts and tensors: adapters that have the same one do the same."""
        found = hashlib.sha256(_canonical(_plain(self.facts)).encode())
        for name, tensor in sorted(self.tensors.items()):
            found.update(f"{name}/{tensor.dtype}/{tuple(tensor.shape)}/".encode())
            found.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
        return found.hexdigest()

    @property
    def bank_tensors(self) -> dict[str, Tensor]:
        """The weights of its layers alone."""
        return {k: v for k, v in self.tensors.items() if k not in {WORD, APPEARANCE, PHOTOS, MASKS}}


def save_adapter(path: Path, facts: AdapterFacts, tensors: Mapping[str, Tensor]) -> Path:
    """Write the file whole or not at all; equal facts and tensors give equal bytes.

    Raises:
        OutputError: it cannot be written.
    """
    return save_tensors(path, _plain(facts), tensors)


def save_tensors(path: Path, facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Path:
    """As `save_adapter`, with ``facts`` that may be those of something else."""
    plain = {name: t.detach().to("cpu").contiguous() for name, t in sorted(tensors.items())}
    try:
        with drafted(path) as draft:
            save_file(plain, draft, metadata={METADATA_KEY: _canonical(facts)})
    except (OSError, SafetensorError) as error:
        raise refusal(str(path), error) from error
    return path


def load_adapter(path: Path) -> Adapter:
    """Read an adapter's file; nothing in it is executed.

    Raises:
        IntegrityError: it is damaged or no adapter of this tool.
        IncompatibleError: it has a newer schema.
    """
    try:
        with safe_open(path, framework="pt") as stream:
            metadata = stream.metadata() or {}
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise IntegrityError(f"{path} cannot be read: {error}") from error
    return Adapter(_read_facts(path, metadata), tensors)


def _canonical(facts: Mapping[str, Any]) -> str:
    return json.dumps(facts, sort_keys=True, separators=(",", ":"))


def _plain(facts: AdapterFacts) -> dict[str, Any]:
    """The facts as files have them; what is usual is left out where files of earlier versions do not have it."""
    plain: dict[str, Any] = msgspec.to_builtins(facts)
    for name, usual in (("storage", "bottlenecks"), ("word_at", "input")):
        if plain[name] == usual:
            del plain[name]
    return plain


def _read_facts(path: Path, metadata: Mapping[str, str]) -> AdapterFacts:
    if METADATA_KEY not in metadata:
        raise IntegrityError(f"{path} is not an adapter of this tool: no {METADATA_KEY} metadata")
    try:
        plain = json.loads(metadata[METADATA_KEY])
        if isinstance(plain, dict) and plain.get("schema") not in {SCHEMA, None}:
            raise IncompatibleError(
                f"{path} has schema {plain['schema']!r}; this version reads {SCHEMA}",
                hint="a newer version of this tool may read it",
            )
        return msgspec.convert(plain, AdapterFacts)
    except (ValueError, msgspec.ValidationError) as error:
        raise IntegrityError(f"{path} has damaged metadata: {error}") from error
