"""What a run was told is read again, also of runs that earlier versions began."""

from __future__ import annotations

from pathlib import Path

import pytest

from dreamvideo_cli.learning.inputs import Sources
from dreamvideo_cli.learning.plan import LearnSettings
from dreamvideo_cli.learning.resume import read_settings
from dreamvideo_cli.runs.folders import find_run, start_run
from registry import IntegrityError

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


def settings_of(folder: Path, settings: dict[str, object]) -> LearnSettings:
    run = start_run(
        folder, "subject", "fox", "ab" * 32, command=["dv"], inputs=[], settings=settings, recipe={}
    )
    return read_settings(find_run(folder, run.id))


def test_what_an_earlier_version_wrote_down_is_read(tmp_path: Path) -> None:
    sources = Sources(
        base="mini",
        paths=("/home/me/photos",),
        mask="auto",
        mask_model="CIDAS/clipseg-rd64-refined",
        skip_bad=True,
        holdout="3",
    )
    assert settings_of(tmp_path, EARLIER) == LearnSettings(
        device="cuda:1", tags=("best",), scored_by=("mini",), patience=3, sources=sources
    )


def test_a_run_that_knows_no_inputs_is_read_too(tmp_path: Path) -> None:
    found = settings_of(tmp_path, {"registry": "/r", "device": "auto", "tags": []})
    assert found == LearnSettings()


def test_settings_that_somebody_changed_are_damage(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match=r"patience"):
        settings_of(tmp_path, {**EARLIER, "patience": "three"})
