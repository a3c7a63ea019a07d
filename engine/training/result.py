"""What learning gives: the adapter's file, and what a manifest says of it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor

from engine.adapters.bank import Bank
from engine.adapters.file import (
    METHOD,
    WORD,
    Adapter,
    AdapterFacts,
    BaseFact,
    InputFact,
    Kind,
    SiteFact,
    fit_bank,
    load_adapter,
    save_adapter,
)
from engine.bases.protocol import LearnedWord
from engine.device import DTYPES
from engine.diffusion.noise import draw_noise
from engine.errors import DivergedError, IntegrityError
from engine.monitor.scores import ScoreBook
from engine.recipe import MotionRecipe, SubjectRecipe
from engine.training.saver import STATES, state_name
from engine.training.session import Workbench

WEIGHTS = "adapter.safetensors"
# The middle of the noise, where an adapter has most to say.
PROBED = torch.tensor([500])


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
        probe: `probe` with the adapter as it is in memory; None where nothing was to be kept.
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
    probe: Callable[[Path], float] | None = None


@dataclass(frozen=True, slots=True)
class Draft:
    """An adapter while it is learned.

    Attributes:
        kind: ``subject`` or ``motion``.
        bench: on which it is learned.
        bank: its bottlenecks.
        more: its other tensors.
        token: a subject's word, else "".
        phrase: class word or caption.
        inputs: what it is learned from.
    """

    kind: Kind
    bench: Workbench[Any]
    bank: Bank
    more: Mapping[str, Tensor]
    token: str
    phrase: str
    inputs: tuple[InputFact, ...]

    @property
    def tensors(self) -> dict[str, Tensor]:
        """All that its file holds, as it is now."""
        return {**self.bank.tensors(), **self.more}

    def facts(self) -> AdapterFacts:
        """What its file says of it."""
        bench = self.bench
        return AdapterFacts(
            kind=self.kind,
            base=base_fact(bench),
            image_tower=bench.location.tower_fingerprint,
            token=self.token,
            phrase=self.phrase,
            width_ratio=bench.recipe.width_ratio,
            condition_width=bench.base.geometry.image_width if self.kind == "motion" else None,
            sites=tuple(SiteFact(site.name, site.width) for site in self.bank.sites),
            recipe=msgspec.to_builtins(bench.recipe),
            inputs=self.inputs,
        )

    def as_read(self) -> Adapter:
        """What reading its file would give."""
        plain = {name: t.detach().to("cpu", copy=True) for name, t in self.tensors.items()}
        return Adapter(self.facts(), plain)

    def save(self, path: Path) -> Path:
        """Write its file.

        Raises:
            DivergedError: a number is not finite.
            OutputError: it cannot be written.
        """
        for name, tensor in self.tensors.items():
            if not tensor.isfinite().all():
                raise DivergedError(
                    f"{name} is not finite: nothing is written", hint="a lower --lr"
                )
        return save_adapter(path, self.facts(), self.tensors)


def best_of(draft: Draft) -> tuple[Draft, dict[str, float]]:
    """Where the caller had patience for scores: the draft as it was at the step that scored best, and that step.

    Without patience, without a score, and in all but the first of several processes: the draft as it is.
    """
    keeping, folder = draft.bench.keeping, draft.bench.folder
    if keeping is None or keeping.scoring is None or keeping.scoring.patience is None:
        return draft, {}
    step = ScoreBook(folder, draft.kind).best(sys.maxsize)
    if step is None:
        return draft, {}
    adapter = load_adapter(folder / STATES / state_name(step))
    bank = fit_bank(adapter, draft.bench.base).to(draft.bench.device)
    return replace(draft, bank=bank), {"step": step, "patience": keeping.scoring.patience}


def write_learned(draft: Draft, *, seconds: float, metrics: Mapping[str, float]) -> Learned:
    """Write the adapter's file into the run's folder and say what it is.

    Raises:
        DivergedError: a number is not finite.
        OutputError: it cannot be written.
    """
    return Learned(
        kind=draft.kind,
        weights=draft.save(draft.bench.folder / WEIGHTS),
        recipe=draft.bench.recipe,
        adapter=describe(draft.bank),
        base=msgspec.to_builtins(base_fact(draft.bench)),
        inputs=tuple(msgspec.to_builtins(item) for item in draft.inputs),
        seconds=seconds,
        device=str(draft.bench.device),
        metrics=dict(metrics),
        probe=partial(probe, draft) if draft.bench.keeping else None,
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


@torch.no_grad()
def probe(draft: Draft, file: Path) -> float:
    """How much the adapter in ``file`` changes the base's prediction, relative to it.

    Raises:
        IntegrityError: it does not change it exactly as the adapter in memory does.
    """
    held, read = draft.as_read(), load_adapter(file)
    base, geometry = draft.bench.base, draft.bench.base.geometry
    frames = 2 if draft.kind == "motion" else 1
    shape = base.latent_shape(frames, geometry.height_px, geometry.width_px)
    latents = draw_noise(shape, 0, 0, 0).to(draft.bench.device)
    phrase = draft.token or draft.phrase
    outputs = []
    for adapter in (held, read):
        words = {}
        if draft.token:
            vector = adapter.tensors[WORD].to(draft.bench.device)
            words = {phrase: LearnedWord(vector, draft.phrase)}
        text = base.encode_text([phrase], words)
        bank = fit_bank(adapter, base).to(draft.bench.device, DTYPES[draft.bench.recipe.precision])
        with bank.attached(base.denoiser):
            outputs.append(base.denoise(latents, PROBED, text))
    base.release_towers()
    plain = base.denoise(latents, PROBED, text).float()
    if not torch.equal(*outputs):
        raise IntegrityError(f"{file} does not do what was learned", hint="dv registry verify")
    return float((outputs[0].float() - plain).norm() / plain.norm())
