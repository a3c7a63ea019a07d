"""What a run was told beside its recipe, as `run.toml` holds it; earlier runs leave out what was not there yet."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from registry.content.manifest import Input

TrackerName = Literal["tensorboard", "wandb", "trackio"]


class Sources(Struct, frozen=True):
    """Where the inputs of a plan lie, so that a run can read them again from anywhere."""

    base: str  # as named, a path made absolute
    paths: tuple[str, ...]  # of photos or clips, absolute, as `write_path` writes them
    image_tower: str | None = None  # named like the base, or None
    # none, auto, photographs (found by their colours; drawings have none) or their folder, likewise
    mask: str = "none"
    mask_model: str = ""  # of auto, named like the base
    skip_bad: bool = False  # whether inputs that cannot be used are left out
    # the photo that is kept out to score against, as it was called, or None
    holdout: str | None = None


class LearnSettings(Struct, frozen=True, kw_only=True):
    """What `learn` is told beside recipe and inputs."""

    method: str = "dreamvideo"  # by which it is learned; a name of `engine.methods.METHODS`
    device: str = "auto"  # as asked for
    tags: tuple[str, ...] = ()  # to be set on the new version
    note: str | None = None  # the user's own words
    save_every: int | None = None  # steps between saves, or None
    preview: int | None = None  # steps between previews, or None
    track: TrackerName | None = None  # the tracker that gets the losses too, or None
    # the towers that score during learning, maybe none; None: nothing is scored
    scored_by: tuple[str, ...] | None = None
    # scores without a better one after which it ends and the best step is published, or None
    patience: int | None = None
    # where the inputs lie, so that the run can read them again; None: it cannot
    sources: Sources | None = None


class RunSettings(LearnSettings, frozen=True, kw_only=True):
    """The same, with what it is learned on and for."""

    registry: str  # folder of the registry in which it will be published
    base_id: str = ""  # the base
    base_fingerprint: str = ""
    held_out: tuple[Input, ...] = ()  # the photo that is kept out to score against
