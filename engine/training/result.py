"""What learning gives: the adapter's file, and what a manifest says of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor

from engine.adapters.bank import Condition
from engine.adapters.composition import Composition
from engine.adapters.delta import Delta, build_delta
from engine.adapters.file import (
    Adapter,
    AdapterFacts,
    InputFact,
    Kind,
    SiteFact,
    Storage,
    load_adapter,
    save_adapter,
)
from engine.adapters.uses import base_fact
from engine.device import DTYPES
from engine.diffusion.noise import draw_noise
from engine.errors import DivergedError, IntegrityError
from engine.recipe import LearnRecipe
from engine.training.session import Session

WEIGHTS = "adapter.safetensors"


@dataclass(frozen=True, slots=True)
class Learned:
    """A learned adapter on disk.

    Attributes:
        kind: ``subject``, ``motion`` or ``joint``.
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
    recipe: LearnRecipe
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
        method: how it is learned.
        storage: what its tensors are.
        session: in which it is learned.
        delta: what it adds to the base, as it is now.
        inputs: what it is learned from.
    """

    method: str
    storage: Storage
    session: Session[Any]
    delta: Delta
    inputs: tuple[InputFact, ...]

    @property
    def kind(self) -> Kind:
        """``subject``, ``motion`` or ``joint``."""
        return self.delta.kind

    def facts(self) -> AdapterFacts:
        """What its file says of it."""
        session, delta = self.session, self.delta
        is_told_looks = delta.kind != "motion" or delta.condition_width is not None
        sites = () if delta.bank is None else delta.bank.sites
        return AdapterFacts(
            method=self.method,
            storage=self.storage,
            word_at=session.location.family.word_at,
            kind=delta.kind,
            base=base_fact(session.location, session.base),
            image_tower=session.location.tower_fingerprint if is_told_looks else "",
            token=delta.token,
            phrase=delta.phrase,
            width_ratio=getattr(session.recipe, "width_ratio", None),
            condition_width=delta.condition_width,
            sites=tuple(SiteFact(site.name, site.width) for site in sites),
            recipe=msgspec.to_builtins(session.recipe),
            inputs=self.inputs,
        )

    def as_read(self) -> Adapter:
        """What reading its file would give."""
        plain = {name: t.to("cpu", copy=True) for name, t in self.delta.tensors().items()}
        return Adapter(self.facts(), plain)

    def save(self, path: Path) -> Path:
        """Write its file.

        Raises:
            DivergedError: a number is not finite.
            OutputError: it cannot be written.
        """
        tensors = self.delta.tensors()
        for name, tensor in tensors.items():
            if not tensor.isfinite().all():
                raise DivergedError(
                    f"{name} is not finite: nothing is written", hint="a lower --lr"
                )
        return save_adapter(path, self.facts(), tensors)


def write_learned(draft: Draft, *, seconds: float, metrics: Mapping[str, float]) -> Learned:
    """Write the adapter's file into the run's folder and say what it is.

    Raises:
        DivergedError: a number is not finite.
        OutputError: it cannot be written.
    """
    session = draft.session
    return Learned(
        kind=draft.kind,
        weights=draft.save(session.folder / WEIGHTS),
        recipe=session.recipe,
        adapter=describe(draft),
        base=msgspec.to_builtins(base_fact(session.location, session.base)),
        inputs=tuple(msgspec.to_builtins(item) for item in draft.inputs),
        seconds=seconds,
        device=str(session.device),
        metrics=dict(metrics),
        probe=partial(probe, draft) if session.policy else None,
    )


def describe(draft: Draft) -> dict[str, Any]:
    """What a manifest says of an adapter."""
    bank = draft.delta.bank
    sites = () if bank is None else bank.sites
    word = 0 if draft.delta.word is None or bank is not None else draft.delta.word.numel()
    return {
        "method": draft.method,
        "sites": [site.name for site in sites],
        "widths": [site.width for site in sites],
        "dtype": "float32" if bank is None else str(bank.stored).removeprefix("torch."),
        "params": word + (0 if bank is None else sum(p.numel() for p in bank.parameters())),
    }


@torch.no_grad()
def probe(draft: Draft, file: Path) -> float:
    """How much the adapter in ``file`` changes the base's prediction, relative to it.

    Raises:
        IntegrityError: it does not change it exactly as the adapter in memory does.
    """
    session = draft.session
    held, read = (build_delta(each, session.base) for each in (draft.as_read(), load_adapter(file)))
    outputs = [_predict(session, delta) for delta in (held, read)]
    plain = _predict(session, held, is_off=True)
    session.base.release_towers()
    if not torch.equal(*outputs):
        raise IntegrityError(f"{file} does not do what was learned", hint="dv registry verify")
    return float((outputs[0] - plain).norm() / plain.norm())


def _predict(session: Session[Any], delta: Delta, *, is_off: bool = False) -> Tensor:
    """The base's prediction, fp32, with the delta told some look; ``is_off``: without its layers or, if none, word."""
    base, geometry, bank = session.base, session.base.geometry, delta.bank
    words = {} if is_off and bank is None else delta.words(base)
    text = base.encode_text([delta.token if words else delta.phrase], words)
    frames = 1 if delta.kind == "subject" else 2
    shape = base.latent_shape(frames, geometry.height_px, geometry.width_px)
    latents = draw_noise(shape, 0, 0, 0).to(session.device)
    times = torch.tensor([_probed(session)], device=session.device)
    if bank is None or is_off:
        return base.denoise(latents, times, text).float()
    bank.to(session.device, DTYPES[session.recipe.precision])
    if delta.condition_width is not None:
        # Without it the half of a motion that reads the look would go unseen.
        look = draw_noise((1, delta.condition_width), 0, 0, 1)
        bank.condition = Condition(look.to(session.device))
    with Composition((delta,), None).attached(base):
        return base.denoise(latents, times, text).float()


def _probed(session: Session[Any]) -> int:
    """The middle of the noise, where an adapter has most to say; of two experts, that of the one for much noise."""
    since = session.location.limits.boundary or 0.0
    return int((since + 1.0) / 2 * session.base.path.timesteps)
