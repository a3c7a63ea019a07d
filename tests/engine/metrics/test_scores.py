"""The formulas against NumPy, and which scores come of which references."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.benchmark.pairs import list_pairs, paint_photos, paint_truth
from engine.metrics.copying import copy_risk
from engine.metrics.definitions import DEFINITIONS
from engine.metrics.scores import (
    NAMES,
    References,
    cosine_among,
    mean_cosine,
    names_of,
    neighbour_cosine,
    score_looks,
    score_video,
    set_standard,
)
from engine.metrics.subject import describe_photos, score_among, subject_score
from engine.metrics.towers import Tower, open_tower
from tests.engine.metrics.drawings import moving_square, noise_scene

PAIRS = list_pairs("development", 4)


def unit(rng, count):
    rows = rng.normal(size=(count, 8))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_the_cosines_are_those_of_ten_lines_of_numpy() -> None:
    rng = np.random.default_rng(0)
    frames, photos = unit(rng, 5), unit(rng, 3)
    pairs = [f @ p for f in frames for p in photos]
    assert mean_cosine(torch.tensor(frames), torch.tensor(photos)) == pytest.approx(np.mean(pairs))
    steps = [frames[k] @ frames[k + 1] for k in range(4)]
    assert neighbour_cosine(torch.tensor(frames)) == pytest.approx(np.mean(steps))
    among = [photos[i] @ photos[j] for i in range(3) for j in range(3) if i != j]
    assert cosine_among(torch.tensor(photos)) == pytest.approx(np.mean(among))
    assert cosine_among(torch.tensor(photos[:1])) is None


def test_only_what_has_a_reference_is_scored() -> None:
    frames, tower = moving_square([(4 * k, 0) for k in range(4)]), open_tower("mini")
    assert [s.metric for s in score_video(frames, References(), [tower])] == ["consistency"]
    assert [s.metric for s in score_video(frames, References(clip=frames), [])] == [
        "motion fidelity",
        "clip copy risk",
    ]


def test_every_score_is_defined_and_says_who_measured_it() -> None:
    pair = PAIRS[0]
    truth = paint_truth(pair, frames=4, side_px=32)
    photos = paint_photos(pair.subject, "development")
    references = References(photos, truth, pair.prompt(pair.class_word))
    scores = score_video(truth, references, [open_tower("mini")])
    assert {score.metric for score in scores} <= set(DEFINITIONS)
    assert {s.by for s in scores if s.metric in {"text", "image", "consistency"}} == {
        "mini image tower"
    }
    assert all(score.floor is None or score.floor < score.ceiling for score in scores)
    (subject,) = [score for score in scores if score.metric == "mini subject score"]
    assert (subject.floor, subject.ceiling) == (None, score_among(describe_photos(photos)))


def test_whatever_a_family_measures_is_defined() -> None:
    assert {name for names in NAMES.values() for name in names if name} <= set(DEFINITIONS)


def test_a_copy_is_one_of_what_was_learned_from_not_of_what_was_held_out() -> None:
    held_out, *learned = (
        noise_scene([(4 * k, 0)])[0][::-1, ::step] for k, step in enumerate((1, -1, 1))
    )
    frames = np.stack([learned[1]] * 2)

    def risk(references: References) -> tuple[float, float | None]:
        (score,) = score_looks(frames, set_standard(references, []))
        return score.value, score.floor

    apart = copy_risk(learned[0][None], learned[1][None])
    assert risk(References((held_out,), learned=tuple(learned))) == pytest.approx((1.0, apart))
    alone = copy_risk(frames, held_out[None])
    assert risk(References((held_out,))) == (pytest.approx(alone), None)
    assert score_looks(frames, set_standard(References((held_out,), learned=()), [])) == []


def test_photos_and_prompt_are_looked_at_once_for_any_number_of_videos() -> None:
    looked: list[object] = []

    def take(what: object) -> torch.Tensor:
        looked.append(what)
        return torch.eye(len(what))[:, :1]

    frames = moving_square([(4 * k, 0) for k in range(3)])
    tower = Tower("clip", "CLIP", take, take)
    standard = set_standard(References((frames[0],), prompt="a dog"), [tower])
    before = len(looked)
    scores = [score_looks(frames, standard) for _ in range(2)]
    assert (before, len(looked)) == (2, 4)
    assert scores[0] == scores[1]
    assert tuple(scores[0]) == score_video(
        frames, References((frames[0],), prompt="a dog"), [tower]
    )


def test_only_the_first_of_several_towers_has_the_metrics_name() -> None:
    measured = [("CLIP-I", "B"), ("DINO-I", "S"), ("CLIP-I", "L"), ("CLIP-I", "B"), ("CLIP-I", "H")]
    assert names_of(measured) == {
        ("CLIP-I", "B"): "CLIP-I",
        ("DINO-I", "S"): "DINO-I",
        ("CLIP-I", "L"): "CLIP-I by L",
        ("CLIP-I", "H"): "CLIP-I by H",
    }


def test_a_subject_is_more_like_its_own_photos_than_any_strangers() -> None:
    photos = {
        pair.subject: describe_photos(paint_photos(pair.subject, "development")[:2])
        for pair in PAIRS
    }
    for pair in PAIRS:
        frames = paint_truth(pair, frames=3, side_px=40)
        scores = {name: subject_score(frames, own) for name, own in photos.items()}
        assert max(scores, key=scores.__getitem__) == pair.subject


def test_the_subject_score_is_silent_about_scenery() -> None:
    scenery = noise_scene([(0, 0)])[0]
    assert describe_photos([scenery]) == ()
    frames, tower = moving_square([(0, 0), (4, 0)]), open_tower("mini")
    scores = score_video(frames, References((scenery,)), [tower])
    assert "mini subject score" not in {score.metric for score in scores}


def test_a_frame_without_a_thing_is_like_nothing() -> None:
    blank = np.full((2, 40, 40, 3), 120, np.uint8)
    learned = describe_photos(paint_photos(PAIRS[0].subject, "development")[:1])
    assert subject_score(blank, learned) == 0.0


def test_photos_of_one_subject_are_alike_whatever_their_turn() -> None:
    photo = paint_photos(PAIRS[0].subject, "development")[0]
    turned = describe_photos([photo, np.rot90(photo).copy()])
    assert score_among(turned) > 0.9
    assert score_among(turned[:1]) is None


def test_a_copy_is_known_at_any_size_and_brightness() -> None:
    picture = noise_scene([(0, 0)])
    assert copy_risk(picture, picture) == pytest.approx(1.0)
    half = (picture[:, ::2, ::2] // 2).astype(np.uint8)
    assert copy_risk(half, picture) > 0.95
    assert copy_risk(picture[:, ::-1], picture) < 0.6
    assert copy_risk(np.zeros((1, 9, 9, 3), np.uint8), picture) == 0.0
