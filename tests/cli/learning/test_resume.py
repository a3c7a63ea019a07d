"""What a run was told is read again, also of runs that earlier versions began."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import tomli_w

from dreamvideo_cli.runs.folders import find_run, start_run
from dreamvideo_cli.runs.folders.settings import RunSettings, Sources
from registry import IntegrityError
from registry.content.manifest import Input
from registry.storage.toml import without_none

# As version 0.1 wrote it: what was not set was left out.
EARLIER = {
    "registry": "/home/me/registry",
    "base_id": "mini@4",
    "base_fingerprint": "ab" * 32,
    "device": "cuda:1",
    "tags": ["best"],
    "held_out": [{"name": "3.png", "digest": "0f" * 32}],
    "scored_by": ["mini"],
    "patience": 3,
    "sources": {
        "base": "mini",
        "paths": ["/home/me/photos"],
        "mask": "auto",
        "mask_model": "CIDAS/clipseg-rd64-refined",
        "skip_bad": True,
        "holdout": "3",
    },
}


def settings_of(folder: Path, settings: dict[str, object]) -> RunSettings:
    """What is read of a run's file that holds these."""
    run = start_run(
        folder,
        "subject",
        "fox",
        "ab" * 32,
        command=["dv"],
        inputs=[],
        settings=RunSettings(registry="/r"),
        recipe={},
    )
    path = run.folder / "run.toml"
    path.chmod(0o644)
    facts = {**msgspec.to_builtins(run.facts), "settings": settings}
    path.write_text(tomli_w.dumps(without_none(facts)), "utf-8")
    return find_run(folder, run.id).facts.settings


def test_what_an_earlier_version_wrote_down_is_read(tmp_path: Path) -> None:
    sources = Sources(
        base="mini",
        paths=("/home/me/photos",),
        mask="auto",
        mask_model="CIDAS/clipseg-rd64-refined",
        skip_bad=True,
        holdout="3",
    )
    assert settings_of(tmp_path, EARLIER) == RunSettings(
        registry="/home/me/registry",
        base_id="mini@4",
        base_fingerprint="ab" * 32,
        held_out=(Input(name="3.png", digest="0f" * 32),),
        device="cuda:1",
        tags=("best",),
        scored_by=("mini",),
        patience=3,
        sources=sources,
    )


def test_a_run_that_knows_no_inputs_is_read_too(tmp_path: Path) -> None:
    found = settings_of(tmp_path, {"registry": "/r", "device": "auto", "tags": []})
    assert found == RunSettings(registry="/r")


def test_settings_that_somebody_changed_are_damage(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match=r"patience"):
        settings_of(tmp_path, {**EARLIER, "patience": "three"})
