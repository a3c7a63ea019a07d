"""What learning gives: the adapter's file, and what a manifest says of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from torch import Tensor

from engine.adapters.bank import Bank
from engine.adapters.files import (
    METHOD,
    AdapterFacts,
    BaseFact,
    InputFact,
    Kind,
    SiteFact,
    save_adapter,
)
from engine.recipe import MotionRecipe, SubjectRecipe
from engine.workbench import Workbench

WEIGHTS = "adapter.safetensors"


@dataclass(frozen=True, slots=True)
class Learned:
    """A learned adapter on disk.

    Attributes:
        kind: ``subject`` or ``motion``.
        weights: the adapter's file.
        recipe: as it was used; nothing in it is "auto".
        adapter: method, sites and their widths in the same order, dtype, params.
        base: id, revision, fingerprint, licence, architecture.
        inputs: name and digest of each photo or clip.
        seconds: wall time.
        device: where it was learned.
        metrics: final numbers, such as the mean loss of the last tenth of each stage.
    """

    kind: Kind
    weights: Path
    recipe: SubjectRecipe | MotionRecipe
    adapter: Mapping[str, Any]
    base: Mapping[str, str]
    inputs: tuple[Mapping[str, str], ...]
    seconds: float
    device: str
    metrics: Mapping[str, float] = field(default_factory=dict)


def write_learned(
    folder: Path,
    *,
    kind: Kind,
    bench: Workbench[Any],
    bank: Bank,
    tensors: Mapping[str, Tensor],
    token: str,
    phrase: str,
    inputs: Sequence[InputFact],
    seconds: float,
    metrics: Mapping[str, float],
) -> Learned:
    """Write the adapter's file into ``folder`` and say what it is.

    Raises:
        OutputError: it cannot be written.
    """
    facts = AdapterFacts(
        kind=kind,
        base=base_fact(bench),
        image_tower=bench.location.tower_fingerprint,
        token=token,
        phrase=phrase,
        width_ratio=bench.recipe.width_ratio,
        condition_width=bench.base.geometry.image_width if kind == "motion" else None,
        sites=tuple(SiteFact(site.name, site.width) for site in bank.sites),
        recipe=msgspec.to_builtins(bench.recipe),
        inputs=tuple(inputs),
    )
    return Learned(
        kind=kind,
        weights=save_adapter(folder / WEIGHTS, facts, tensors),
        recipe=bench.recipe,
        adapter=describe(bank),
        base=msgspec.to_builtins(facts.base),
        inputs=tuple(msgspec.to_builtins(item) for item in inputs),
        seconds=seconds,
        device=str(bench.device),
        metrics=dict(metrics),
    )


def base_fact(bench: Workbench[Any]) -> BaseFact:
    """What a file remembers of the base it was learned on."""
    location, geometry = bench.location, bench.base.geometry
    return BaseFact(
        id=location.id,
        revision=location.revision,
        fingerprint=location.fingerprint,
        licence=location.card.licence,
        architecture=f"{bench.base.family}/text{geometry.text_width}/image{geometry.image_width or 0}",
    )


def describe(bank: Bank) -> dict[str, Any]:
    """What a manifest says of a bank."""
    return {
        "method": METHOD,
        "sites": [site.name for site in bank.sites],
        "widths": [site.width for site in bank.sites],
        "dtype": "float32",
        "params": sum(p.numel() for p in bank.parameters()),
    }
