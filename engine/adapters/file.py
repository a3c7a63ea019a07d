"""The file of an adapter: safetensors with one metadata key that explains it when it is found alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import torch
from msgspec import Struct
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from engine.adapters.bank import Bank
from engine.bases.protocol import Base, Site
from engine.drafts import drafted, refusal
from engine.errors import IncompatibleError, IntegrityError

Kind = Literal["subject", "motion"]
METADATA_KEY = "dreamvideo"
SCHEMA = "dv.adapter/1"
METHOD = "dreamvideo"
# Names of tensors that are not bottlenecks: the learned word (d,), appearance vectors (n, d).
WORD, APPEARANCE = "word.vector", "appearance.features"


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

    ``image_tower`` is its fingerprint, or "" where the base had none. ``token`` and ``phrase``
    are a subject's word and class word, or a motion's "" and caption.
    """

    schema: str = SCHEMA
    method: str = METHOD
    kind: Kind
    base: BaseFact
    image_tower: str
    token: str
    phrase: str
    width_ratio: float
    condition_width: int | None
    sites: tuple[SiteFact, ...]
    recipe: dict[str, Any]
    inputs: tuple[InputFact, ...]


@dataclass(frozen=True, slots=True)
class Adapter:
    """An adapter read from its file: facts and tensors on the CPU."""

    facts: AdapterFacts
    tensors: Mapping[str, Tensor]

    @property
    def bank_tensors(self) -> dict[str, Tensor]:
        """The bottlenecks' weights alone."""
        return {k: v for k, v in self.tensors.items() if k not in {WORD, APPEARANCE}}


def save_adapter(path: Path, facts: AdapterFacts, tensors: Mapping[str, Tensor]) -> Path:
    """Write the file whole or not at all; equal facts and tensors give equal bytes.

    Raises:
        OutputError: it cannot be written.
    """
    canonical = json.dumps(msgspec.to_builtins(facts), sort_keys=True, separators=(",", ":"))
    plain = {name: t.detach().to("cpu").contiguous() for name, t in sorted(tensors.items())}
    try:
        with drafted(path) as draft:
            save_file(plain, draft, metadata={METADATA_KEY: canonical})
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


def fit_bank(adapter: Adapter, base: Base) -> Bank:
    """A bank with the adapter's weights for this base, on the CPU in fp32.

    Raises:
        IncompatibleError: the sites or shapes of file and base differ; both sides are named.
    """
    facts = adapter.facts
    role: Literal["identity", "motion"] = "identity" if facts.kind == "subject" else "motion"
    sites = base.sites(role)
    _match_sites(facts, sites)
    bank = Bank(sites, facts.width_ratio, facts.condition_width)
    own, given = bank.tensors(), adapter.bank_tensors
    for name in sorted(own.keys() ^ given.keys()):
        side = "lacks" if name in own else "has the unknown"
        raise IncompatibleError(f"the {facts.kind}'s file {side} tensor {name}")
    for name, tensor in own.items():
        if tensor.shape != given[name].shape:
            raise IncompatibleError(
                f"{name} is {tuple(given[name].shape)}; this base takes {tuple(tensor.shape)}"
            )
    bank.load_tensors({name: tensor.to(torch.float32) for name, tensor in given.items()})
    return bank


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


def _match_sites(facts: AdapterFacts, sites: Sequence[Site]) -> None:
    """Both ways: no site of the file unknown to the base, none of the base without weights."""
    theirs = {(site.name, site.width) for site in facts.sites}
    ours = {(site.name, site.width) for site in sites}
    if theirs != ours:
        raise IncompatibleError(
            f"the {facts.kind} has {len(theirs)} sites and this base {len(ours)},"
            f" {len(theirs & ours)} of them the same",
            hint=f"it was learned on {facts.base.id}",
        )
