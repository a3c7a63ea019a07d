"""What is measured while something is learned: against what, by whom, and what several references make of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.benchmark.pairs import paint_photos
from engine.media.clips.reader import Clip
from engine.media.photos.holdout import hold_out
from engine.metrics.copying import copy_risk
from engine.metrics.definitions import Measured, best_step
from engine.metrics.judge import Judge, references_of_clips, references_of_photos
from engine.metrics.scores import References, score_video
from engine.metrics.towers import open_tower
from engine.progress import ignore
from tests.engine.metrics.drawings import moving_square
from tests.engine.metrics.tiny_towers import build_vit
from tests.engine.samples import photos

RIGHT, DOWN = ([(5 * k, 0) for k in range(5)], [(0, 5 * k) for k in range(5)])


def clip_of(frames: np.ndarray) -> Clip:
    return Clip(Path("a.mp4"), frames, tuple(k / 8 for k in range(len(frames))), 8.0, "", "")


def test_what_was_held_out_is_measured_against_and_what_was_learned_is_what_can_be_copied() -> None:
    (references,) = references_of_photos(hold_out(photos(3), "1.png"), "dog")
    learned = [photos(3).photos[k].pixels for k in (0, 2)]
    assert np.array_equal(np.stack(references.learned), np.stack(learned))
    judge = Judge([references], (), ignore)
    assert judge(np.stack([learned[1]] * 2)).values["photo copy risk"] == pytest.approx(1.0)
    assert judge(np.stack([references.photos[0]] * 2)).values["photo copy risk"] < 0.5


def test_of_several_clips_the_copy_risk_is_the_highest_and_the_fidelity_the_mean() -> None:
    right, down = moving_square(RIGHT), moving_square(DOWN, paper=(250, 240, 90))
    found = Judge(references_of_clips([clip_of(down), clip_of(right)], "moving"), (), ignore)(
        right
    ).values
    assert found["clip copy risk"] == pytest.approx(1.0)
    assert copy_risk(right, down) < 0.9
    alone = {s.metric: s.value for s in score_video(right, References(clip=down), [])}
    assert found["motion fidelity"] == pytest.approx((1.0 + alone["motion fidelity"]) / 2, abs=1e-6)


def test_towers_of_one_family_are_not_mixed(tmp_path: Path) -> None:
    first, second = (str(build_vit(tmp_path / f"dino-{k}", seed=k)) for k in range(2))
    (references,) = references_of_photos(photos(2), "dog")
    frames = moving_square(RIGHT)
    found = Judge([references], [first, second], ignore)(frames).values
    alone = [
        score_video(frames, references, [open_tower(name)])[0].value for name in (first, second)
    ]
    assert [found["DINO-I"], found["DINO-I by DINO ViT-16/8 (dino-1)"]] == pytest.approx(alone)
    assert alone[0] != pytest.approx(alone[1])


def test_what_tells_one_thing_from_another_is_asked_first() -> None:
    metrics = ("mini subject score", "DINO-I", "DINOv2-I", "CLIP-I", "ViT-I", "image")
    for place, metric in enumerate(metrics):
        best = best_step("subject", {2: Measured(dict.fromkeys(metrics[place:], 0.5))})
        assert best is not None
        assert best.metric == metric


def test_minis_tower_does_not_judge_photos_that_show_no_subject_before_a_plain_background() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)
    found = Judge([References(photos=tuple(noise))], ["mini"], ignore)(noise)
    assert found.doubts == {"image": "no photo shows a subject before a plain background"}


def test_a_subject_that_is_in_no_frame_is_in_doubt() -> None:
    drawn = paint_photos("orange fox", "development")
    empty = np.full((2, 32, 32, 3), 200, np.uint8)
    lost = Judge([References(photos=drawn)], ["mini"], ignore)(empty)
    assert lost.values["mini subject score"] == 0.0
    assert set(lost.doubts) == {"mini subject score", "image"}


def test_a_likeness_above_what_the_photos_reach_among_themselves_is_in_doubt(
    tmp_path: Path,
) -> None:
    tower = open_tower(str(build_vit(tmp_path / "dino", seed=0)))
    first, second = (photos(2).photos[k].pixels for k in range(2))
    copied = score_video(np.stack([first] * 2), References(photos=(first, second)), [tower])[0]
    assert copied.ceiling is not None
    assert copied.value > copied.ceiling
    assert copied.doubt == "it is above its ceiling"
