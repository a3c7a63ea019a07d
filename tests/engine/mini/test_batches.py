"""What the device draws is the world: true captions, nothing held out, the same pictures as the oracle's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.mini.world.batches import KIND_SHARES, MOTION_NAMES, Batches, pick
from engine.mini.world.captions import MAX_TOKENS, MOTION_WORDS, build_tokenizer, name_subject
from engine.mini.world.creatures import draw_creature
from engine.mini.world.figures import draw_figure
from engine.mini.world.paths import FREE, NAMED, tabulate_free, tabulate_named
from engine.mini.world.population import gather_population
from engine.mini.world.render import KINDS, make_texture, paint_backgrounds, place
from engine.mini.world.scenes import HELD_OUT_MOTIONS, KEPT_APART, Pose, Scene, Start, paint_scene
from engine.mini.world.split import read_held_out
from engine.mini.world.things import HELD_OUT_THINGS

TOKENIZER = build_tokenizer()


@pytest.fixture(scope="module")
def population(sprites):
    return gather_population(side=32, creatures=12, seed=0, sprites=sprites, every=40)


@pytest.fixture(scope="module")
def batches(population):
    torch.manual_seed(0)
    return Batches(population, TOKENIZER, torch.device("cpu"), side=32, frames=8, paths=48, seed=0)


@pytest.mark.parametrize("pose", [Pose(0.4, 0.6, 0.5), Pose(0.6, 0.5, 0.62, 50)])
def test_the_device_draws_what_the_oracle_paints(pose):
    scene = Scene("red halved cat", "snow", "", (236, 240, 244), (pose,))
    texture = torch.from_numpy(make_texture(draw_figure(scene.subject), 64))[None]
    background = torch.tensor(scene.colour)[None, :, None, None].expand(1, 3, 64, 64) / 255
    poses = torch.tensor([[[pose.x, pose.y, pose.size, pose.degrees, 0.0]]])
    drawn = place(texture, poses, background)[0, 0] * 255
    painted = torch.from_numpy(paint_scene(scene, side_px=64)[0]).permute(2, 0, 1)
    assert (drawn - painted).abs().mean() < 3


def test_a_stretched_figure_is_wider_than_high():
    texture = torch.ones(1, 4, 32, 32)
    poses = torch.tensor([[[0.5, 0.5, 0.4, 0.0, np.log(4)]]])
    seen = place(texture, poses, torch.zeros(1, 3, 64, 64))[0, 0, 0] > 0.5
    assert int(seen.any(0).sum()) == 52  # 0.4 · 2 of 64
    assert int(seen.any(1).sum()) == 12  # 0.4 / 2 of 64


def test_backgrounds_are_of_the_colours_and_kinds_they_are_called():
    kinds = torch.arange(len(KINDS))
    first, second = torch.zeros(len(KINDS), 3), torch.ones(len(KINDS), 3)
    painted = paint_backgrounds(kinds, first, second, 32)
    shares = painted.mean((1, 2, 3))
    assert shares[0] == 0
    assert all(0.2 < share < 0.8 for share in shares[1:])
    ground = painted[KINDS.index("two-part")]
    assert ground[:, 0].max() == 0
    assert ground[:, -1].min() == 1


def test_nothing_that_is_held_out_is_in_the_population(population):
    held_out = read_held_out()
    names = {member.words[0] for member in population.members}
    assert not names & {*held_out.development, *held_out.test}
    assert not {member.thing for member in population.members} & set(HELD_OUT_THINGS)
    first, last = population.groups["sprites"]
    assert last - first == 1  # one of the twelve that are not held out, one of forty taken


def test_no_free_path_goes_a_held_out_way():
    poses, _ = tabulate_free(200, 8, seed=0)
    places = poses[..., :2] - poses[..., :2].mean(1, keepdims=True)
    for motion in HELD_OUT_MOTIONS.values():
        way = np.array([(p.x, p.y) for p in (motion(u / 7, Start(0, 0.5)) for u in range(8))])
        assert np.abs(places - (way - way.mean(0))).mean((1, 2)).min() > KEPT_APART - 1e-6


def test_a_free_path_does_what_it_is_called():
    poses, kinds = tabulate_free(200, 8, seed=0)
    grown, turned = np.log(poses[:, -1, 2] / poses[:, 0, 2]), poses[:, -1, 3] - poses[:, 0, 3]
    assert (grown[kinds == FREE.index("wandering and growing")] > 0.3).all()
    assert (grown[kinds == FREE.index("wandering and shrinking")] < -0.3).all()
    assert (np.abs(turned[kinds == FREE.index("wandering and turning")]) > 100).all()
    assert not turned[kinds == FREE.index("wandering")].any()


def test_every_named_motion_has_its_paths():
    poses, motions = tabulate_named(3, 8, seed=0)
    assert poses.shape == (len(motions), 8, 5)
    assert set(np.bincount(motions)) == {3, 6}
    assert len(np.bincount(motions)) == len(NAMED)


def test_a_creature_follows_from_its_number():
    first, again, other = draw_creature(3), draw_creature(3), draw_creature(3, seed=1)
    assert first.picture.tobytes() == again.picture.tobytes()
    assert first.picture.tobytes() != other.picture.tobytes()


def test_a_dense_caption_says_all_that_is_true(batches, population):
    batch = batches.clips(64)
    captions = TOKENIZER.batch_decode(batches.captions(batch, short=0), skip_special_tokens=True)
    for caption, member, motion in zip(
        captions, batch.member.tolist(), batch.motion.tolist(), strict=True
    ):
        assert name_subject(population.members[member].words[0]) in caption
        assert any(words in caption for words in MOTION_WORDS[MOTION_NAMES[motion]])


def test_a_shortened_caption_says_something_true_and_less(batches, population):
    batch = batches.stills(64)
    captions = TOKENIZER.batch_decode(batches.captions(batch, short=1), skip_special_tokens=True)
    for caption, number in zip(captions, batch.member.tolist(), strict=True):
        whole, *shorter = population.members[number].words
        assert any(word in caption for word in shorter)
        assert whole in shorter or whole not in caption


def test_a_dropped_caption_is_the_empty_one(batches):
    ids = batches.captions(batches.stills(2), short=0, drop=1.0)
    assert ids.tolist() == [TOKENIZER("", padding="max_length").input_ids] * 2


def test_the_longest_captions_fit(batches, population):
    longest = [max(table.shape[-1] for table in tables) for tables in (
        [batches._who], [batches._does], [batches._where, batches._first]
    )]  # fmt: skip
    assert sum(longest) + 2 <= MAX_TOKENS


def test_batches_have_their_shapes_and_range(batches):
    for batch, frames in ((batches.stills(5), 1), (batches.clips(3), 8)):
        assert batch.pictures.shape[1:] == (frames, 3, 32, 32)
        assert -1 <= batch.pictures.min() < batch.pictures.max() <= 1


def test_facts_are_those_of_the_words(batches, population):
    batch = batches.stills(32)
    thing, colour, *_ = batches.list_facts(batch)
    for number, fact in zip(batch.member.tolist(), thing.tolist(), strict=True):
        assert (fact >= 0) == bool(population.members[number].thing)
    assert (colour >= 0).all()


def test_an_index_is_drawn_as_often_as_its_weight_says():
    torch.manual_seed(0)
    drawn = pick(torch.tensor(KIND_SHARES).expand(20_000, -1))
    shares = torch.bincount(drawn) / len(drawn)
    assert torch.allclose(shares, torch.tensor(KIND_SHARES), atol=0.02)
