"""Motion fidelity is 1 for the same path, 0 for a still, and blind to looks, place and size."""

from __future__ import annotations

import numpy as np
import pytest

from engine.metrics.fidelity import compare_tracks, motion_fidelity
from engine.metrics.motion import Track, trace
from engine.mini.world.scenes import HELD_OUT_MOTIONS, draw_clip, paint_scene
from engine.mini.world.split import read_held_out
from tests.engine.metrics.drawings import moving_square, noise_scene

DOWN = [(0, 4 * k) for k in range(5)]
RIGHT = [(5 * k, 0) for k in range(5)]


def paint_held_out_motions(actor: int) -> dict[str, np.ndarray]:
    """Each held-out motion by a held-out subject, another one for another actor."""
    names = sorted(read_held_out().development)
    clips = {}
    for place, motion in enumerate(HELD_OUT_MOTIONS):
        rng = np.random.default_rng([1, actor, place])
        subject = names[(place + 7 * actor) % len(names)]
        scene = draw_clip(rng, subject=subject, motion=motion, frames=8)
        clips[motion] = paint_scene(scene, side_px=40)
    return clips


@pytest.fixture(scope="module")
def acted():
    """Tracks of every held-out motion by two actors."""
    painted = [paint_held_out_motions(actor) for actor in (0, 1)]
    return [{motion: trace(clip) for motion, clip in clips.items()} for clips in painted]


@pytest.mark.parametrize("motion", HELD_OUT_MOTIONS)
def test_another_actor_of_the_same_motion_is_faithful(acted, motion) -> None:
    assert compare_tracks(acted[0][motion], acted[1][motion]) > 0.9


@pytest.mark.parametrize("motion", HELD_OUT_MOTIONS)
def test_held_out_motions_are_strangers_to_each_other(acted, motion) -> None:
    others = [compare_tracks(acted[0][motion], t) for m, t in acted[1].items() if m != motion]
    assert max(others) < 0.5


def test_a_clip_is_faithful_to_itself_and_a_still_to_nothing() -> None:
    clip = moving_square(RIGHT)
    assert motion_fidelity(clip, clip) == pytest.approx(1.0)
    assert motion_fidelity(clip, np.repeat(clip[:1], 5, axis=0)) == 0.0
    assert motion_fidelity(np.repeat(clip[:1], 5, axis=0), clip) == 0.0


def test_the_mirror_image_of_a_sideways_motion_is_unfaithful() -> None:
    clip = moving_square(RIGHT)
    assert motion_fidelity(clip, clip[:, :, ::-1]) == 0.0


def test_place_colours_and_resolution_are_left_out() -> None:
    reference = moving_square(RIGHT)
    other = moving_square(RIGHT, start=(4, 30), colour=(20, 200, 60), paper=(200, 180, 240))
    large = np.kron(other, np.ones((1, 4, 4, 1), np.uint8))
    assert motion_fidelity(reference, large) > 0.97


@pytest.mark.parametrize(("factor", "least", "most"), [(0.6, 0.95, 1.0), (0.2, 0.5, 0.8)])
def test_the_size_of_the_path_is_free_within_a_factor_of_two(factor, least, most) -> None:
    reference = moving_square(RIGHT)
    shorter = moving_square([(x * factor, y) for x, y in RIGHT])
    assert least <= motion_fidelity(reference, shorter) <= most


def test_paths_at_right_angles_have_nothing_in_common() -> None:
    assert motion_fidelity(moving_square(RIGHT), moving_square(DOWN)) < 0.02


def test_the_formula_is_the_one_that_is_written_down() -> None:
    rng = np.random.default_rng(0)
    states = rng.normal(size=(2, 6, 4))
    p, q = (np.diff(s, axis=0) * (1, 1, 0.2, 0.2) for s in states)
    errors = [((p - a * q) ** 2).sum() for a in np.linspace(0.5, 2, 2001)]
    expected = max(0.0, 1 - min(errors) / (p**2).sum())
    one, other = (Track(s, 0.2, 1.0) for s in states)
    assert compare_tracks(one, other) == pytest.approx(expected, abs=1e-4)


def test_in_scenery_what_moves_is_found_by_flow() -> None:
    far = [(4 * x, 4 * y) for x, y in RIGHT]
    reference, reversed_ = noise_scene(far), noise_scene(far[::-1])
    assert motion_fidelity(moving_square(RIGHT), reference) > 0.8
    assert motion_fidelity(reference, reversed_) < 0.1


def test_an_empty_video_is_followed_as_one_that_stands_still() -> None:
    track = trace(np.full((4, 32, 32, 3), 90, np.uint8))
    assert not track.states.any()
    assert track.seen == 0.0
