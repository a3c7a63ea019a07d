"""The search of weights and windows: what is tried, what is best, and the line that uses it."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import dreamvideo_cli
from dreamvideo_cli.errors import UsageError
from dreamvideo_cli.generation.compare.tune import (
    Setting,
    Trial,
    TuneOptions,
    TunePlan,
    gen_line,
    plan_tuning,
    search,
)
from dreamvideo_cli.generation.references import AdapterResolver
from engine.metrics.definitions import Measured
from registry import open_registry
from tests.cli.conftest import Dv, Learned, Put

START = Setting(1.0, 1.0, 0.2, 0.8, 1.0, 1.0)
VALUES = {
    "subject_uncond": (0.0, 1.0),
    "motion_uncond": (1.0,),
    "subject_weight": (0.5, 1.0, 2.0),
    "motion_weight": (0.5, 1.0, 2.0),
    "identity_from": (0.0, 0.2),
    "motion_until": (0.8, 1.0),
}


def plan_of(rounds: int = 1) -> TunePlan:
    return TunePlan(SimpleNamespace(rounds=rounds), START, VALUES, None, Path("x.png"))  # type: ignore[arg-type]


def trial(setting: Setting, subject: float, motion: float, **doubts: str) -> Trial:
    values = {"mini subject score": subject, "motion fidelity": motion, "text": 0.5}
    return Trial(setting, (None,), (Measured(values, doubts),))


def test_each_axis_goes_on_from_the_best_so_far_and_nothing_is_tried_twice() -> None:
    """A landscape with its top at 2, 0.5, 0, 1, 0, 1 that each axis climbs by itself."""
    top = Setting(2.0, 0.5, 0.0, 1.0, 0.0, 1.0)
    tried = []

    def measure(setting: Setting) -> Trial:
        tried.append(setting)
        away = sum(getattr(setting, axis) != getattr(top, axis) for axis in VALUES)
        return trial(setting, (1.0 - away / 8) * bool(setting.subject_weight), 1.0 - away / 8)

    found = search(plan_of(rounds=2), measure)
    assert found.best.setting == top
    assert len(tried) == len(set(tried))
    shared = replace(START, subject_uncond=0.0)
    assert tried[:3] == [START, replace(START, subject_weight=0.0), shared]
    weights = [replace(shared, subject_weight=weight) for weight in (0.5, 2.0)]
    assert tried[3:5] == weights
    assert len(tried) <= plan_of(rounds=2).most_trials


def test_what_loses_one_of_them_is_worse_than_what_keeps_both() -> None:
    both, lopsided = trial(START, 0.4, 0.4), trial(replace(START, subject_weight=2.0), 1.0, 0.05)
    given = iter([lopsided, *[trial(START, 0.0, 0.0)] * 2, both, *[trial(START, 0.0, 0.0)] * 20])
    found = search(plan_of(), lambda setting: Trial(setting, *_rest(next(given))))
    assert found.best.measured == both.measured
    assert found.total(found.best) == pytest.approx((0.4 * 0.4 * 0.5) ** (1 / 3))
    assert found.metrics == {
        "subject": "mini subject score",
        "motion": "motion fidelity",
        "text": "text",
    }


def test_what_is_found_of_a_subject_without_it_counts_for_nothing() -> None:
    """At weight 0.5 there is more motion, and of the subject no more than any video has."""
    scores = {0.0: (0.2, 0.9), 0.5: (0.21, 0.9), 1.0: (0.4, 0.5), 2.0: (0.5, 0.05)}
    found = search(plan_of(), lambda setting: trial(setting, *scores[setting.subject_weight]))
    assert found.best.setting.subject_weight == 1.0
    assert found.total(found.best) == pytest.approx((0.2 * 0.5 * 0.5) ** (1 / 3))


def test_videos_without_a_subject_are_never_the_best() -> None:
    """Where nothing keeps any of it, either."""
    found = search(plan_of(), lambda setting: trial(setting, 0.2, 0.5))
    assert found.best.setting.subject_weight


def _rest(one: Trial) -> tuple[Any, Any]:
    return one.videos, one.measured


def test_a_subject_that_no_scorer_can_judge_is_refused() -> None:
    measured = Measured({"image": 0.5, "motion fidelity": 0.5}, {"image": "no plain background"})
    with pytest.raises(UsageError, match="can judge the subject"):
        search(plan_of(), lambda setting: Trial(setting, (None,), (measured,)))


@pytest.fixture
def both(put: Put) -> None:
    put("corgi")
    put("skate", "motion")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (("corgi=0.5", "skate", "a corgi"), "the subject corgi=0.5 has a weight"),
        (("corgi", "skate", "a corgi", "--weights", "1,11"), "--weights '11'"),
        (("corgi", "skate", "a corgi", "--motion-until", "1.5"), "from 0 to 1"),
        (("corgi", "skate", "a corgi", "-o", "x.mp4"), "no picture"),
        (
            ("corgi", "skate", "a corgi", "--rounds", "5", "--weights", "1,2,3,4,5,6,7,8,9,0"),
            "over 100",
        ),
    ],
)
def test_what_cannot_be_searched_is_a_usage_error(
    dv: Dv, both: None, line: Any, message: str
) -> None:
    found = dv("tune", *line)
    assert found.code == 2
    assert message in found.err


def test_without_its_run_or_a_path_there_is_nothing_to_measure_against(
    dv: Dv, both: None, photos: Path
) -> None:
    line = ("tune", "corgi", "skate", "a corgi", "--scorer", "mini", "-n")
    found = dv(*line)
    assert (found.code, "--photos DIR" in found.err) == (2, True)
    found = dv(*line, "--photos", photos)
    assert (found.code, "--clip CLIP" in found.err) == (2, True)
    found = dv(*line, "--photos", "nosuch", "--clip", "nosuch")
    assert (found.code, "nosuch" in found.err) == (3, True)


def test_the_line_has_every_flag_that_the_search_was_given(home: Path, both: None) -> None:
    resolver = AdapterResolver(open_registry(home / "registry"))
    given = {"steps": 4, "guidance": 3.5, "negative": "a box", "anyway": True, "seeds": "7..8"}
    options = TuneOptions(subject="corgi", motion="skate", prompt="a corgi's skate", **given)
    plan = plan_tuning(resolver, options)
    line = gen_line(plan, Setting(1.4, 0.7, 0.0, 1.0, 0.0, 1.0), None)
    assert shlex.split(line) == shlex.split(
        'dv gen "a corgi\'s skate" --subject corgi=1.4 --motion skate=0.7 --subject-uncond 0 --motion-uncond 1'
        " --identity-from 0 --motion-until 1 --seed 7 --negative 'a box' --steps 4 --guidance 3.5 --anyway"
    )


def test_a_search_shows_a_table_and_a_picture_and_its_line_makes_the_best_video(
    dv: Dv, learned: Learned, clip: Path, tmp_path: Path
) -> None:
    """Of a motion in a file too, of which no run is known."""
    skate = tmp_path / "skate.dva"
    assert dv("motion", "export", "skate", "-o", skate, "--registry", learned.registry).code == 0
    photos = Path(dreamvideo_cli.__file__).parent / "samples" / "subject"
    registry = ("--registry", learned.registry)
    values = ("--weights", "1,2", "--identity-from", "0", "--motion-until", "1", "--seeds", "0")
    sources = ("--photos", photos, "--clip", clip, "--scorer", "mini", "--steps", 2)
    line = ("tune", "corgi", skate, "a corgi skate", *values, *sources, *registry)
    before = sorted(learned.registry.rglob("*"))
    found = dv(*line, "-o", tmp_path / "sheet.png", "--json")
    assert found.code == 0, found.err
    document = found.document
    assert document["schema"] == "dv.tune/1"
    shares = [(s["subject_uncond"], s["motion_uncond"]) for s in document["settings"]]
    assert len(shares) == 6
    assert {(1.0, 1.0), (0.0, 1.0)} <= set(shares)
    totals = [setting["together"] for setting in document["settings"]]
    assert totals == sorted(totals, reverse=True)
    assert (tmp_path / "sheet.png").is_file()
    assert sorted(learned.registry.rglob("*")) == before
    words = shlex.split(document["line"])
    made = dv(*words[1:], "-o", tmp_path / "best", "--format", "png")
    assert made.code == 0, made.err
    assert np.all([path.suffix == ".png" for path in (tmp_path / "best").iterdir()])
