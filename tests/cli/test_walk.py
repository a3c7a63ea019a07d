"""From the shell to the engine a request passes few functions of the command line."""

from __future__ import annotations

import traceback
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import dreamvideo_cli
import engine.generate
import engine.learn
from engine.errors import InputError
from tests.cli.conftest import Dv

HOUSE = str(Path(dreamvideo_cli.__file__).parent)
SAMPLES = Path(HOUSE) / "samples"


class Walk:
    """The functions of the command line under each call of the engine."""

    def __init__(self) -> None:
        self.passed: list[list[str]] = []

    def note(self) -> None:
        frames = traceback.extract_stack()
        self.passed.append([frame.name for frame in frames if frame.filename.startswith(HOUSE)])

    def enter(self, *_: Any, **__: Any) -> None:
        self.note()
        raise InputError("the engine was entered")


@pytest.fixture
def walk() -> Walk:
    return Walk()


@pytest.mark.parametrize("kind", ["subject", "motion"])
def test_learning_reaches_the_engine_in_four_steps(
    dv: Dv, base: Path, walk: Walk, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(engine.learn, "learn", walk.enter)
    inputs = SAMPLES / ("subject" if kind == "subject" else "motion.mp4")
    assert dv(kind, "learn", inputs, "--name", "it", "--base", base).code != 0
    assert walk.passed == [["main", "run", f"learn_{kind}", "train"]]


def test_making_a_video_reaches_the_engine_in_four_steps(
    dv: Dv, base: Path, walk: Walk, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Loaded:
        location, device = None, "cpu"

        def __init__(self, **_: Any) -> None:
            walk.note()

        @contextmanager
        def equipped(self, *_: Any) -> Any:
            yield type("Generator", (), {"sample_together": walk.enter})

    monkeypatch.setattr(engine.generate, "LoadedBase", Loaded)
    monkeypatch.setattr("dreamvideo_cli.generation.sampler._remember", lambda *_: None)
    assert dv("gen", "a cat", "--base", base).code != 0
    assert walk.passed == [["main", "run", "gen", "sample"]] * 2
