"""What an adapter adds to a base: layers at sites, a learned word, how its subject looks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from engine.adapters.bank import (
    READER,
    Bank,
    bottleneck_bank,
    full_rank_bank,
    layer_widths,
    low_rank_bank,
    reader_sites,
    weight_sites,
)
from engine.adapters.bottleneck import LowRank, ReferenceRank
from engine.adapters.file import (
    APPEARANCE,
    MASKS,
    PHOTOS,
    WORD,
    Adapter,
    AdapterFacts,
    Kind,
    SiteFact,
    Storage,
)
from engine.adapters.reference import ReferenceSource
from engine.adapters.sparse_causal import SparseCausal
from engine.bases.protocol import Base, LearnedWord, ReferenceBlocks, Role, Site
from engine.errors import IncompatibleError

ROLES: Mapping[Kind, Role] = {"subject": "identity", "motion": "motion"}


@dataclass(frozen=True, slots=True)
class Photos:
    """Photos of a subject that an adapter brings along: ``latents`` and ``masks`` as in `ReferenceSource`."""

    latents: Tensor
    masks: Tensor | None
    blocks: ReferenceBlocks

    def tensors(self) -> dict[str, Tensor]:
        """As an adapter's file holds them."""
        return {PHOTOS: self.latents} | ({} if self.masks is None else {MASKS: self.masks})


@dataclass(frozen=True, slots=True)
class Delta:
    """An adapter on a base, fresh or read from its file."""

    kind: Kind  # ``subject``, ``motion`` or ``joint``
    bank: Bank | None = None  # its layers, or None where it is a word alone
    token: str = ""  # a subject's word as prompts have it, else ""
    phrase: str = ""  # a subject's class word, or a motion's caption
    word: Tensor | None = None  # vectors of the word, (d,) or (n, d), or None
    appearance: Tensor | None = None  # how the subject looks in each of its photos, (n, d), or None
    # width of the appearance vector that its layers read, or None
    condition_width: int | None = None
    # of the condition in the unconditional and the conditional half of guidance
    strengths: tuple[float, float] = (0.0, 0.0)
    # share of its weight in the unconditional half of guidance, where nobody asks for another
    uncond: float = 1.0
    reads_nothing: bool = False  # whether zeros have stood for a missing look while it was learned
    # of its subject, which the base reads while it makes a video, or None
    photos: Photos | None = None
    # whether spatial self-attention looks at the first and the last frame while it acts; see
    # `engine.adapters.sparse_causal`
    sparse_causal: bool = False
    weight: float = 1.0  # 1 is what was learned, 0 the base bit for bit
    # banks that act beside its own while it is learned, and are thrown away
    scaffold: tuple[Bank, ...] = ()

    def tensors(self) -> dict[str, Tensor]:
        """All that its file holds."""
        photos = {} if self.photos is None else self.photos.tensors()
        more = {WORD: self.word, APPEARANCE: self.appearance, **photos}
        own = {} if self.bank is None else self.bank.tensors()
        return {**own, **{name: t.detach() for name, t in more.items() if t is not None}}

    @contextmanager
    def attached(self, base: Base) -> Iterator[Delta]:
        """Let its layers act in the base until the block ends: in the denoiser, and while prompts are read."""
        self.act()
        with ExitStack() as stack:
            for bank in self.banks:
                stack.enter_context(bank.attached(base.denoiser))
            if self.sparse_causal and self.bank is not None:
                stack.enter_context(SparseCausal(self.bank).attached(base))
            if self.bank is not None and self.bank.reader is not None:
                self.bank.reader.weight = self.weight
                base.readers.append(self.bank.reader)
                stack.callback(base.readers.remove, self.bank.reader)
            yield self

    @contextmanager
    def muted(self) -> Iterator[None]:
        """While open, the base is as if nothing were attached, bit for bit, while it reads prompts too."""
        reader = None if self.bank is None else self.bank.reader
        with ExitStack() as stack:
            for bank in (*self.banks, *(() if reader is None else (reader,))):
                stack.enter_context(bank.muted())
            yield

    @property
    def banks(self) -> tuple[Bank, ...]:
        """All banks that act in the denoiser."""
        return self.scaffold if self.bank is None else (self.bank, *self.scaffold)

    def source(self, base: Base) -> ReferenceSource | None:
        """Its photos as the base reads them, told as their class word; None where it has none, or no weight."""
        if self.photos is None or self.weight == 0.0:
            return None
        photos, text = self.photos, base.encode_text([f"a {self.phrase}"], {}).detach()
        device = text.features.device
        return ReferenceSource(
            photos.latents.to(device),
            text,
            masks=None if photos.masks is None else photos.masks.to(device),
            bank=self.bank,
            blocks=photos.blocks,
        )

    def act(self, share: float = 1.0) -> None:
        """Let its layers act at a share of the adapter's weight; of 0 not at all."""
        if self.bank is not None:
            self.bank.weight = share * self.weight

    def words(self, base: Base) -> dict[str, LearnedWord]:
        """Its word at its weight, ``class + w·(word - class)``, as `Base.encode_text` takes it; none at weight 0."""
        if self.word is None or self.weight == 0.0:
            return {}
        vectors = self.word
        if self.weight != 1.0:
            start = base.start_word(self.phrase).mean(dim=0).to(vectors)
            vectors = start + self.weight * (vectors - start)
        return {self.token: LearnedWord(vectors, self.phrase)}


def build_delta(
    adapter: Adapter, base: Base, *, weight: float = 1.0, bank: Bank | None = None
) -> Delta:
    """What an adapter's file adds to ``base``, on the CPU in fp32.

    Args:
        adapter: read from its file.
        base: which it must have been learned on.
        weight: see `Delta`.
        bank: its layers where they are at hand, from `build_bank`.

    Raises:
        IncompatibleError: the sites or shapes of file and base differ; both sides are named.
    """
    facts = adapter.facts
    recipe = facts.recipe
    return Delta(
        kind=facts.kind,
        bank=bank or build_bank(adapter, base),
        token=facts.token,
        phrase=facts.phrase,
        word=adapter.tensors.get(WORD),
        appearance=adapter.tensors.get(APPEARANCE),
        condition_width=facts.condition_width,
        photos=_read_photos(adapter),
        strengths=(recipe.get("appearance_uncond", 0.0), recipe.get("appearance_cond", 0.0)),
        uncond=recipe.get("uncond", 1.0),
        reads_nothing=bool(recipe.get("image_drop")),
        sparse_causal=bool(recipe.get("sparse_causal")),
        weight=weight,
    )


def _read_photos(adapter: Adapter) -> Photos | None:
    if adapter.facts.storage != "reference":
        return None
    latents, masks = (adapter.tensors.get(name) for name in (PHOTOS, MASKS))
    if latents is None:
        raise IncompatibleError(f"the {adapter.facts.kind}'s file lacks tensor {PHOTOS}")
    return Photos(latents, masks, adapter.facts.recipe.get("blocks", "midup"))


def build_bank(adapter: Adapter, base: Base) -> Bank | None:
    """The layers of an adapter's file for this base, on the CPU in fp32.

    Raises:
        IncompatibleError: see `build_delta`.
    """
    bank = STORAGES[adapter.facts.storage](adapter, base)
    own = {} if bank is None else bank.tensors()
    given = adapter.bank_tensors
    _match_tensors(adapter.facts, own, given)
    if bank is not None:
        bank.load_tensors({name: tensor.to(torch.float32) for name, tensor in given.items()})
    return bank


def _fit_bottlenecks(adapter: Adapter, base: Base) -> Bank:
    facts = adapter.facts
    sites = base.sites(ROLES[facts.kind], facts.recipe.get("placement", "parts"))
    theirs = {(site.name, site.width) for site in facts.sites}
    ours = {(site.name, site.width) for site in sites}
    if theirs != ours:  # both ways: none unknown to the base, none of the base without weights
        raise IncompatibleError(
            f"the {facts.kind} has {len(theirs)} sites and this base {len(ours)},"
            f" {len(theirs & ours)} of them the same",
            hint=f"it was learned on {facts.base.id}",
        )
    assert facts.width_ratio is not None
    return bottleneck_bank(sites, facts.width_ratio, facts.condition_width)


def _fit_low_rank(adapter: Adapter, base: Base, layer_type: type[LowRank] = LowRank) -> Bank:
    reading = [site for site in adapter.facts.sites if site.name.startswith(f"{READER}.")]
    drawing = [site for site in adapter.facts.sites if site not in reading]
    places = {site.name: Site(site.name, site.name, site.name, site.width) for site in drawing}
    bank = _low_rank(adapter, base.denoiser, drawing, places, layer_type)
    if reading:
        tower, places = base.text_tower or nn.Module(), {s.name: s for s in reader_sites(base)}
        bank.reader = _low_rank(adapter, tower, reading, places)
    return bank


def _low_rank(
    adapter: Adapter,
    network: nn.Module,
    wanted: Sequence[SiteFact],
    places: Mapping[str, Site],
    layer_type: type[LowRank] = LowRank,
) -> Bank:
    """Low-rank layers at the sites of a file that are ``wanted``, which lie at these places of a network."""
    layers = dict(network.named_modules())
    ranks = []
    for site in wanted:
        place = places.get(site.name)
        widths = layer_widths(layers.get(place.write)) if place else None
        if widths is None or widths[0] != site.width:
            raise _no_site(adapter.facts, site)
        down = adapter.tensors.get(f"{site.name}.down.weight")
        ranks.append(1 if down is None or down.ndim != 2 else down.shape[0])
    sites = [places[site.name] for site in wanted]
    return low_rank_bank(network, sites, ranks, layer_type=layer_type)


def _fit_reference(adapter: Adapter, base: Base) -> Bank:
    return _fit_low_rank(adapter, base, ReferenceRank)


def _fit_full_rank(adapter: Adapter, base: Base) -> Bank:
    ours = {site.name: site for site in weight_sites(base)}
    for site in adapter.facts.sites:
        if site.name not in ours:
            raise _no_site(adapter.facts, site)
    return full_rank_bank(base, [ours[site.name] for site in adapter.facts.sites])


def _no_site(facts: AdapterFacts, site: SiteFact) -> IncompatibleError:
    return IncompatibleError(
        f"the {facts.kind} changes {site.name}, {site.width} wide, which this base does not have",
        hint=f"it was learned on {facts.base.id}",
    )


def _match_tensors(
    facts: AdapterFacts, own: Mapping[str, Tensor], given: Mapping[str, Tensor]
) -> None:
    for name in sorted(own.keys() ^ given.keys()):
        side = "lacks" if name in own else "has the unknown"
        raise IncompatibleError(f"the {facts.kind}'s file {side} tensor {name}")
    for name, tensor in own.items():
        if tensor.shape != given[name].shape:
            raise IncompatibleError(
                f"{name} is {tuple(given[name].shape)}; this base takes {tuple(tensor.shape)}"
            )


# How what a file holds becomes layers.
STORAGES: Mapping[Storage, Callable[[Adapter, Base], Bank | None]] = {
    "bottlenecks": _fit_bottlenecks,
    "low-rank": _fit_low_rank,
    "full-rank": _fit_full_rank,
    "reference": _fit_reference,
    "word": lambda _adapter, _base: None,
}
