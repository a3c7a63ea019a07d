"""Adapters together, by numbers: who acts in which step and half, what the motions are told, what prompts say."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from engine.adapters.bank import Bank, fresh_bank
from engine.adapters.composition import Composition
from engine.adapters.delta import Delta
from engine.adapters.uses import common_look
from engine.bases.protocol import LearnedWord, Site
from engine.recipe import GenerateRecipe

WIDTH, LOOK = 6, 5
RECIPE = GenerateRecipe(prompt="a <rex> skating", steps=10)


def bank() -> Bank:
    return fresh_bank([Site("site", "site", "site", WIDTH)], 0.5, LOOK, seed=0)


def delta(kind: str, weight: float = 1.0, **named) -> Delta:
    return Delta(kind=kind, bank=bank(), weight=weight, **named)


def weights(*deltas: Delta, step: int, **settings) -> list[float]:
    """Of the banks in a step."""
    recipe = GenerateRecipe(prompt="", steps=10, **settings)
    Composition(deltas, None).set_step(recipe, step)
    return [each.bank.weight for each in deltas]


SUBJECT, MOTION = delta("subject", 0.75), delta("motion", 1.5)


@pytest.mark.parametrize(
    ("step", "expected"),
    [(0, [0.15, 1.5]), (2, [0.15, 1.5]), (3, [0.75, 1.5]), (6, [0.75, 1.5]), (7, [0.75, 0.0])],
)
def test_identity_waits_for_its_turn_and_motion_ends_at_its_own(
    step: int, expected: list[float]
) -> None:
    """Each at its share of its weight, from step 0.3·10 on and before step 0.7·10."""
    turns = {"identity_from": 0.3, "identity_early": 0.2, "motion_until": 0.7}
    assert weights(SUBJECT, MOTION, step=step, **turns) == pytest.approx(expected)


def test_where_one_kind_has_no_weight_the_other_acts_in_full_all_the_time() -> None:
    turns = {"identity_from": 0.5, "motion_until": 0.5}
    for step, subject in ((0, 0.0), (9, 0.75)):
        assert weights(SUBJECT, MOTION, step=step, **turns)[0] == subject
    silent = replace(MOTION, weight=0.0)
    for step in (0, 9):
        assert weights(SUBJECT, silent, step=step, **turns) == [0.75, 0.0]
        assert weights(MOTION, step=step, **turns) == [1.5]


def test_a_joint_adapter_takes_no_turns() -> None:
    joint = delta("joint", 0.5)
    turns = {"identity_from": 0.5, "motion_until": 0.5}
    for step in (0, 9):
        assert weights(joint, SUBJECT, MOTION, step=step, **turns)[0] == 0.5


def test_motions_alone_act_in_full_and_are_told_nothing() -> None:
    told = delta("motion", 1.5, condition_width=LOOK)
    subject = delta("subject", 0.75)
    composition = Composition((subject, told), torch.ones(LOOK))
    composition.set_step(RECIPE, 0)
    composition.set_halves(RECIPE, [0, 1])
    told.bank.weight = 0.0
    with composition.motions_alone():
        assert [each.bank.weight for each in (subject, told)] == [0.0, 1.5]
        assert told.bank.condition is None
        assert told.bank.shares is None
    assert subject.bank.weight == 0.75


def told(motion: Delta, look: Tensor | None, halves: list[int], **settings) -> tuple[Tensor, list]:
    """The condition that a motion is told: its vectors, and its strength in each sample."""
    recipe = GenerateRecipe(prompt="", **settings)
    Composition((motion,), look).set_halves(recipe, halves)
    condition = motion.bank.condition
    return condition.features, condition.strength.tolist()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [0.25, 0.5, 0.25]),
        ({"appearance": 2.0}, [0.5, 1.0, 0.5]),
        ({"appearance_uncond": 0.0}, [0.0, 0.5, 0.0]),
        ({"appearance_cond": 0.75, "appearance": 0.5}, [0.125, 0.375, 0.125]),
    ],
)
def test_each_half_has_the_strength_it_was_learned_for_or_told(settings, expected) -> None:
    look = torch.arange(5.0)
    motion = delta("motion", condition_width=LOOK, strengths=(0.25, 0.5))
    vectors, strengths = told(motion, look, [0, 1, 0], **settings)
    assert torch.equal(vectors, look.expand(3, -1))
    assert strengths == expected


@pytest.mark.parametrize(("reads_nothing", "strengths"), [(True, [0.25, 0.5]), (False, [0.0, 0.0])])
def test_zeros_stand_for_a_missing_look_where_they_did_in_learning(
    reads_nothing, strengths
) -> None:
    motion = delta(
        "motion", condition_width=LOOK, strengths=(0.25, 0.5), reads_nothing=reads_nothing
    )
    vectors, found = told(motion, None, [0, 1])
    assert torch.equal(vectors, torch.zeros(2, LOOK))
    assert found == strengths


@pytest.mark.parametrize(
    ("settings", "subject", "motion"),
    [
        ({}, None, [0.25, 1.0]),
        ({"subject_uncond": 0.5}, [0.5, 1.0], [0.25, 1.0]),
        ({"motion_uncond": 1.0}, None, None),
        ({"motion_uncond": 0.0}, None, [0.0, 1.0]),
    ],
)
def test_the_unconditional_half_has_the_share_that_is_asked_for_or_was_learned(
    settings, subject, motion
) -> None:
    deltas = delta("subject"), delta("motion", uncond=0.25)
    Composition(deltas, None).set_halves(GenerateRecipe(prompt="", **settings), [0, 1])
    for each, expected in zip(deltas, (subject, motion), strict=True):
        shares = each.bank.shares
        assert shares is expected if expected is None else shares.tolist() == expected


def test_a_word_alone_has_no_layers_to_set() -> None:
    word = Delta("subject", token="<rex>", phrase="dog", word=torch.ones(3))
    composition = Composition((word, MOTION), None)
    composition.set_halves(RECIPE, [0, 1])
    composition.set_step(RECIPE, 0)
    with composition.motions_alone():
        assert MOTION.bank.weight == 1.5
    assert composition.banks == [MOTION.bank]


class Table(nn.Module):
    """A base whose class words start at rows of two tokens."""

    def start_word(self, phrase: str) -> Tensor:
        assert phrase == "dog"
        return torch.tensor([[0.0, 4.0], [2.0, 0.0]])


@pytest.mark.parametrize("weight", [0.5, 1.0, 2.0])
def test_a_word_of_some_weight_lies_on_the_line_from_the_class_word(weight: float) -> None:
    """class + w·(word - class), the class word being the mean of its tokens, for each of the word's vectors."""
    vectors = torch.tensor([[3.0, 3.0], [1.0, -1.0]])
    subject = Delta("subject", token="<rex>", phrase="dog", word=vectors, weight=weight)
    words = Composition((subject, MOTION), None).words(Table())
    start = torch.tensor([1.0, 2.0])
    assert words.keys() == {"<rex>"}
    assert isinstance(words["<rex>"], LearnedWord)
    assert words["<rex>"].class_word == "dog"
    torch.testing.assert_close(words["<rex>"].vectors, start + weight * (vectors - start))


def test_prompts_say_the_class_word_for_a_subject_without_weight() -> None:
    rex, tom = (
        Delta("subject", token=f"<{name}>", phrase=kind, word=torch.ones(2), weight=weight)
        for name, kind, weight in (("rex", "dog", 0.0), ("tom", "cat", 0.5))
    )
    plain = Composition((rex, tom), None).plain
    assert plain("a <rex> and a <tom>, <rex>!") == "a dog and a <tom>, dog!"


def test_the_common_look_is_the_mean_of_each_subjects_most_typical_photo() -> None:
    """Of the first subject the photo nearest to the mean of its three; without weight a subject has no say."""
    first = torch.tensor([[0.0, 0.0], [9.0, 0.0], [4.0, 1.0]])
    second = torch.tensor([[2.0, 5.0]])
    subjects = [Delta("subject", appearance=each) for each in (first, second)]
    others = [MOTION, Delta("subject", appearance=100 * second, weight=0.0)]
    look = common_look([*subjects, *others], torch.device("cpu"))
    assert torch.equal(look, torch.tensor([3.0, 3.0]))
    assert common_look(others, torch.device("cpu")) is None
