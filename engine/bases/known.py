"""Bases that have a name of their own: where they lie on the hub, and what their folders do not say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from engine.bases.cards import BaseCard, VideoCard
from engine.bases.families import ANIMATEDIFF_CARD
from engine.bases.names.releases import RELEASES, Release


@dataclass(frozen=True, slots=True)
class KnownBase:
    """A hub repository with what its own folder does not say; a motion module makes an image model move."""

    hub_id: str
    card: BaseCard
    motion_module: str | None = None


# What neither their folders nor their families say.
CARDS: Mapping[str, BaseCard] = {
    "modelscope": BaseCard(generate={"steps": 25, "guidance": 9.0}),
    "zeroscope": BaseCard(
        video=VideoCard(frames=24, height_px=320, width_px=576),
        generate={"steps": 40, "guidance": 9.0},
    ),
    "animatediff": msgspec.convert(ANIMATEDIFF_CARD, BaseCard),
}


def _know(name: str, release: Release) -> KnownBase:
    facts = {"name": name, "licence": release.licence, "summary": release.summary}
    card = msgspec.structs.replace(CARDS.get(name, BaseCard()), **facts)
    modules = [source.hub_id for source in release.sources if source.role == "motion module"]
    return KnownBase(release.hub_id, card, *modules)


KNOWN: Mapping[str, KnownBase] = {name: _know(name, each) for name, each in RELEASES.items()}
