"""Scores while something is learned: cheap to promote, never in the way, and a reason to stop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from engine.bases import BaseLocation, locate_base
from engine.errors import ScorerMissingError, StoppedError
from engine.media.photos.holdout import hold_out
from engine.metrics import judge
from engine.metrics.definitions import MOST_SCORES, Measured, best_step, score_interval
from engine.metrics.judge import Judge, references_of_clips, references_of_photos
from engine.monitor.scores import SCORES
from engine.progress import Event, Note, Previewed, Saved, Scored, ignore
from engine.training.result import Learned
from engine.training.saver import SavePolicy, Scoring
from tests.engine.samples import clip, learn_motion, learn_subject, photos
from tests.engine.test_learning import MOTION, SUBJECT
from tests.engine.training.test_fallback import PREVIEW
from tests.engine.training.test_saver import stop_after

RECIPE = msgspec.structs.replace(SUBJECT, word_steps=1, adapter_steps=6)
Measure = Callable[[np.ndarray], Measured]


@pytest.fixture(scope="module")
def location(tiny_folder: Path) -> BaseLocation:
    return locate_base(str(tiny_folder))


class Script:
    """Measures what it is told to: a value a video, the base alone first."""

    def __init__(self, *values: float) -> None:
        self.values = list(values)
        self.seen: list[bytes] = []

    def __call__(self, frames: np.ndarray) -> Measured:
        self.seen.append(frames.tobytes())
        return Measured({"image": self.values.pop(0)})


def subject(
    folder: Path, location: BaseLocation, measure: Measure, patience: int | None = None, **named
) -> tuple[Learned, list[Event]]:
    folder.mkdir(exist_ok=True)
    told: list[Event] = []
    policy = SavePolicy(
        preview=PREVIEW, scoring=Scoring(measure, named.pop("every", 1), patience), **named
    )
    learned = learn_subject(
        RECIPE, photos(), location, folder, token="<corgi>", policy=policy, progress=told.append
    )
    return learned, told


def scored(told: list[Event]) -> dict[int, float]:
    return {event.step: event.values["image"] for event in told if isinstance(event, Scored)}


def state(folder: Path, step: int) -> bytes:
    return (folder / "states" / f"{step:08d}.safetensors").read_bytes()


def test_every_score_has_its_video_its_save_and_its_cost(
    tmp_path: Path, location: BaseLocation
) -> None:
    measure = Script(0.1, 0.3, 0.9, 0.2)
    learned, told = subject(tmp_path / "a", location, measure, every=2)
    assert scored(told) == {0: 0.1, 2: 0.3, 4: 0.9, 6: 0.2}
    assert [e.step for e in told if isinstance(e, Previewed)] == [0, 2, 4, 6]
    assert [e.step for e in told if isinstance(e, Saved) and e.state] == [2, 4, 6]
    assert all(event.seconds > 0 for event in told if isinstance(event, Scored))
    assert len(set(measure.seen)) == 4
    assert learned.weights.read_bytes() == state(tmp_path / "a", 6)
    plain = learn_subject(RECIPE, photos(), location, tmp_path, token="<corgi>")
    assert learned.weights.read_bytes() == plain.weights.read_bytes()


def test_patience_stops_early_and_publishes_the_best_step(
    tmp_path: Path, location: BaseLocation
) -> None:
    learned, told = subject(tmp_path / "a", location, Script(0.95, 0.3, 0.9, 0.2, 0.9), 2)
    assert scored(told) == {0: 0.95, 1: 0.3, 2: 0.9, 3: 0.2, 4: 0.9}
    assert learned.weights.read_bytes() == state(tmp_path / "a", 2)
    assert (learned.metrics["step"], learned.metrics["patience"]) == (2, 2)
    assert learned.probe is not None
    assert learned.probe(learned.weights) > 0


def test_patience_that_lasts_publishes_the_best_step_too(
    tmp_path: Path, location: BaseLocation
) -> None:
    values = (0.0, 0.1, 0.2, 0.3, 0.4, 0.9, 0.8)
    learned, _ = subject(tmp_path / "a", location, Script(*values), 5)
    assert learned.weights.read_bytes() == state(tmp_path / "a", 5)


@pytest.mark.parametrize("stop", [2, 3, 4, 5])
def test_a_stopped_run_takes_the_same_scores_and_publishes_the_same_step(
    tmp_path: Path, location: BaseLocation, stop: int
) -> None:
    """A signal may come between a save and its score; the score is taken when the run goes on."""
    measure = Script(0.0, 0.3, 0.9, 0.2, 0.1)
    policy = SavePolicy(preview=PREVIEW, scoring=Scoring(measure, 1, 2))
    folder = tmp_path / "a"
    folder.mkdir()
    with pytest.raises(StoppedError):
        learn_subject(
            RECIPE,
            photos(),
            location,
            folder,
            token="<corgi>",
            policy=policy,
            progress=stop_after(stop, policy),
        )
    learned, _ = subject(folder, location, measure, 2)
    assert measure.values == []
    assert learned.weights.read_bytes() == state(folder, 2)


def test_a_score_that_fails_ends_no_run(tmp_path: Path, location: BaseLocation) -> None:
    def fail(_frames: np.ndarray) -> Measured:
        raise ScorerMissingError("the tower is gone")

    learned, told = subject(tmp_path / "a", location, fail, 1)
    notes = [event.text for event in told if isinstance(event, Note)]
    assert sum("no score of step" in note for note in notes) == 7
    assert "step" not in learned.metrics
    assert learned.weights.is_file()


def test_a_damaged_book_of_scores_is_begun_anew(tmp_path: Path, location: BaseLocation) -> None:
    (tmp_path / SCORES).write_text("[{")
    _, told = subject(tmp_path, location, Script(0.0, 0.1), every=6)
    assert scored(told) == {0: 0.0, 6: 0.1}


def test_a_motion_is_scored_too(tmp_path: Path, location: BaseLocation) -> None:
    told: list[Event] = []
    recipe = msgspec.structs.replace(PREVIEW, prompt="sweeping", frames=4)
    judged = Judge(references_of_clips([clip(0), clip(1)], "sweeping"), (), told.append)
    policy = SavePolicy(preview=recipe, scoring=Scoring(judged, 3))
    learn_motion(MOTION, [clip()], location, tmp_path, policy=policy, progress=told.append)
    found = {event.step: set(event.values) for event in told if isinstance(event, Scored)}
    assert found == {step: {"motion fidelity", "clip copy risk"} for step in (0, 3)}


def test_a_subject_is_measured_against_what_was_held_out() -> None:
    (all_of_them,) = references_of_photos(photos(3), "dog")
    (held,) = references_of_photos(hold_out(photos(3), "1.png"), "dog")
    assert (len(all_of_them.photos), held.prompt) == (3, "a dog")
    assert np.array_equal(held.photos[0], photos(3).photos[1].pixels)


def test_without_opencv_the_scores_that_need_none_are_taken_and_it_is_said_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(*_: object) -> None:
        raise ScorerMissingError("OpenCV is not installed", hint="pip install it")

    monkeypatch.setattr(judge, "require_open_cv", missing)
    told: list[Event] = []
    judged = Judge(references_of_photos(photos(2), "dog"), ["mini"], told.append)
    frames = np.random.default_rng(0).integers(0, 255, (3, 32, 32, 3), np.uint8)
    for _ in range(2):
        measured = judged(frames)
        assert set(measured.values) == {"text", "image", "consistency", "photo copy risk"}
        assert measured.doubts.keys() <= {"image"}
    (note,) = told
    assert "OpenCV is not installed; pip install it" in note.text


def test_the_first_metric_that_was_measured_says_which_step_is_best() -> None:
    scores = {
        2: Measured({"image": 0.9, "CLIP-I": 0.4, "text": 0.1}),
        4: Measured({"image": 0.1, "CLIP-I": 0.6, "text": float("nan")}),
        6: Measured({"image": 0.1, "CLIP-I": 0.6, "text": 0.2}),
    }
    best = best_step("subject", scores)
    assert best is not None
    assert (best.step, best.metric, best.value) == (4, "CLIP-I", 0.6)
    motion = best_step("motion", scores)
    assert motion is not None
    assert (motion.step, motion.metric) == (6, "text")
    nothing = {2: Measured({"text": 1.0}), 4: Measured({"image": float("nan")})}
    assert best_step("subject", nothing) is None


def test_no_step_is_chosen_by_a_score_in_doubt() -> None:
    above = {"image": "it is above its ceiling"}
    praised = {2: Measured({"image": 0.5}), 4: Measured({"image": 0.9}, above)}
    assert best_step("subject", praised) is None
    other = {step: Measured({**each.values, "ViT-I": 0.1 * step}) for step, each in praised.items()}
    best = best_step("subject", other)
    assert best is not None
    assert (best.metric, best.step) == ("ViT-I", 4)


def test_the_subject_score_chooses_where_it_is_defined_but_not_where_nothing_is_found() -> None:
    lost = Measured({"mini subject score": 0.0, "image": 0.9}, {"mini subject score": "not there"})
    found = Measured({"mini subject score": 0.3, "image": 0.4})
    best = best_step("subject", {2: lost, 4: found, 6: lost})
    assert best is not None
    assert (best.metric, best.step) == ("mini subject score", 4)
    both = {"mini subject score": "not there", "image": "not there"}
    assert best_step("subject", {2: Measured(lost.values, both)}) is None


def test_patience_is_not_kept_with_a_score_in_doubt(tmp_path: Path, location: BaseLocation) -> None:
    left = [0.1, 0.9, 0.2, 0.1, 0.1, 0.1, 0.1]

    def praise(_frames: np.ndarray) -> Measured:
        return Measured({"image": left.pop(0)}, {"image": "it is above its ceiling"})

    learned, told = subject(tmp_path / "a", location, praise, 1)
    assert left == []
    assert all(event.doubts for event in told if isinstance(event, Scored))
    assert "step" not in learned.metrics


@pytest.mark.parametrize("steps", [1, 3, 9, 10, 11, 99, 800, 1501])
def test_by_default_there_are_as_many_scores_as_states_are_kept(steps: int) -> None:
    every = score_interval(steps)
    scores = {step for step in range(1, steps + 1) if step % every == 0 or step == steps}
    assert min(steps, MOST_SCORES // 2) <= len(scores) <= MOST_SCORES


def test_mini_names_its_own_tower(tmp_path: Path) -> None:
    judged = Judge(references_of_photos(photos(1), "dog"), ["mini"], ignore)
    (standard,) = judged._standards
    assert [seen.tower.name for seen in standard.seen] == ["mini image tower"]
