"""Adapters as they are used together: their files read, what must not meet refused, their words and look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from engine.adapters.delta import Delta
from engine.adapters.file import Adapter, BaseFact, Kind, load_adapter
from engine.bases import BaseLocation
from engine.bases.protocol import Base
from engine.errors import IncompatibleError


@dataclass(frozen=True, slots=True)
class AdapterUse:
    """An adapter's file and the weight it is used with: 1 is what was learned, 0 the base bit for bit."""

    file: Path
    kind: Kind
    weight: float = 1.0


def base_fact(location: BaseLocation, base: Base) -> BaseFact:
    """What a file remembers of the base that its adapter belongs to."""
    geometry = base.geometry
    return BaseFact(
        id=location.id,
        revision=location.revision,
        fingerprint=location.fingerprint,
        licence=location.card.licence,
        architecture=f"{base.family}/text{geometry.text_width}/image{geometry.image_width or 0}",
    )


def load_adapters(
    uses: Sequence[AdapterUse], location: BaseLocation
) -> list[tuple[AdapterUse, Adapter]]:
    """Read the adapters' files and see that they fit the base and each other.

    Raises:
        IntegrityError: an adapter's file is damaged.
        IncompatibleError: an adapter is of another kind or base or is there twice, or two subjects share a word.
    """
    files = [use.file for use in uses]
    for file in files:
        if files.count(file) > 1:
            raise IncompatibleError(f"{file} takes part twice", hint="once, with one weight")
    adapters = [(use, _checked(use, location)) for use in uses]
    _refuse_other_towers([adapter for _, adapter in adapters])
    _refuse_shared_words([adapter for _, adapter in adapters])
    return adapters


def _checked(use: AdapterUse, location: BaseLocation) -> Adapter:
    """The adapter, if it is of its kind and of this base."""
    adapter = load_adapter(use.file)
    facts = adapter.facts
    if facts.kind != use.kind:
        raise IncompatibleError(f"{use.file} is a {facts.kind}, not a {use.kind}")
    if facts.base.fingerprint != location.fingerprint:
        raise IncompatibleError(
            f"the {use.kind} {use.file.name} was learned on {facts.base.id}"
            f" ({facts.base.fingerprint[:12]}), the base here is {location.id}"
            f" ({location.fingerprint[:12]})",
            hint="learn it again on this base, or name the base it was learned on",
        )
    if facts.token and facts.word_at != location.family.word_at:
        raise IncompatibleError(
            f"the word of {use.file.name} stands at the text tower's {facts.word_at}, and this version puts it"
            f" at its {location.family.word_at}",
            hint="learn it again",
        )
    return adapter


def _refuse_other_towers(adapters: Sequence[Adapter]) -> None:
    """A motion can only be told a look that was seen through the image tower it was learned with."""
    towers = {adapter.facts.image_tower for adapter in adapters if adapter.facts.image_tower}
    if len(towers) > 1:
        raise IncompatibleError(
            "the adapters were learned with different image towers: "
            + ", ".join(sorted(tower[:12] for tower in towers)),
            hint="learn one of them again with the other's --image-tower",
        )


def _refuse_shared_words(adapters: Sequence[Adapter]) -> None:
    """No token may stand for two subjects."""
    tokens = [adapter.facts.token for adapter in adapters if adapter.facts.token]
    for token in tokens:
        if tokens.count(token) > 1:
            raise IncompatibleError(f"two subjects share the word {token}")


def common_look(deltas: Sequence[Delta], device: torch.device) -> Tensor | None:
    """The appearance vector (d,) of the subjects in use: of each its most typical photo, then their mean.

    Paper: one of the subject's photos.
    Differs: the photo nearest to the mean of all, so that a seed does not choose a bad one.
    """
    looks = [
        _most_typical(delta.appearance)
        for delta in deltas
        if delta.appearance is not None and delta.weight != 0.0
    ]
    return torch.stack(looks).mean(dim=0).to(device) if looks else None


def _most_typical(features: Tensor) -> Tensor:
    """Of (n, d) the row nearest to their mean."""
    distance = (features - features.mean(dim=0)).square().sum(dim=1)
    return features[distance.argmin()]
