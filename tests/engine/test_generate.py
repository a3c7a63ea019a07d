"""Making videos on a tiny base: the same bytes, strengths, and what is refused."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest
import torch
from torch import Tensor

from engine.adapters.delta import build_delta
from engine.adapters.file import WORD, load_adapter
from engine.adapters.uses import AdapterUse, load_adapters
from engine.bases import BaseLocation, locate_base
from engine.diffusion import samplers
from engine.errors import DivergedError, IncompatibleError, IntegrityError, RecipeError
from engine.generate import LoadedBase, open_generator
from engine.media.photos import Photo
from engine.recipe import GenerateRecipe, MotionRecipe, SubjectRecipe
from tests.engine.samples import clip, learn_motion, learn_subject, photos
from tests.tiny import build_image_tower, build_unet3d, open_tiny

RECIPE = GenerateRecipe(
    prompt="a <corgi> sweeping", frames=4, height_px=32, width_px=40, steps=3, guidance=4.0
)


class World(NamedTuple):
    location: BaseLocation
    subject: Path
    motion: Path


@pytest.fixture(scope="module")
def world(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> World:
    location = locate_base(str(tiny_folder))
    folders = [tmp_path_factory.mktemp(name) for name in ("subject", "motion")]
    look = SubjectRecipe(
        class_word="dog", word_steps=2, word_lr=0.1, adapter_steps=3, adapter_lr=0.05, batch=2
    )
    move = MotionRecipe(caption="sweeping", steps=3, lr=0.05, batch=2)
    subject = learn_subject(look, photos(), location, folders[0], token="<corgi>")
    motion = learn_motion(move, [clip()], location, folders[1])
    return World(location, subject.weights, motion.weights)


def video(
    world: World,
    *,
    subject: float | None = None,
    motion: float | None = None,
    photo: Photo | None = None,
    **changes,
) -> np.ndarray:
    uses = []
    if subject is not None:
        uses.append(AdapterUse(world.subject, "subject", subject))
    if motion is not None:
        uses.append(AdapterUse(world.motion, "motion", motion))
    told = {} if photo is None else {"appearance_photo": photo.digest}
    with open_generator(world.location, uses, photo=photo) as generator:
        return generator.sample(msgspec.structs.replace(RECIPE, **told, **changes))


def test_a_video_has_the_size_asked_for(world: World) -> None:
    frames = video(world, subject=1, frames=3, height_px=40, width_px=24)
    assert frames.shape == (3, 40, 24, 3)
    assert frames.dtype == np.uint8


@pytest.mark.parametrize("sampler", ["ddim", "dpm++"])
def test_the_same_seed_twice_gives_the_same_bytes(world: World, sampler: str) -> None:
    one = video(world, subject=1, motion=1, sampler=sampler)
    assert np.array_equal(one, video(world, subject=1, motion=1, sampler=sampler))


def test_another_seed_gives_another_video(world: World) -> None:
    assert not np.array_equal(video(world, subject=1), video(world, subject=1, seed=1))


def test_a_generator_kept_open_repeats_itself(world: World) -> None:
    uses = [AdapterUse(world.subject, "subject"), AdapterUse(world.motion, "motion")]
    with open_generator(world.location, uses) as generator:
        first = generator.sample(RECIPE)
        generator.sample(msgspec.structs.replace(RECIPE, seed=9, appearance_cond=0.0))
        assert np.array_equal(generator.sample(RECIPE), first)


def test_weights_of_zero_are_the_base_bit_for_bit(world: World) -> None:
    base = video(world, prompt="a dog sweeping")
    assert np.array_equal(video(world, subject=0, motion=0), base)


def test_each_adapter_changes_the_video_and_so_does_its_weight(world: World) -> None:
    videos = [
        video(world, prompt="a dog sweeping"),
        video(world, subject=1),
        video(world, subject=0.5),
        video(world, subject=1, motion=1),
        video(world, subject=1, motion=0.5),
    ]
    for i, one in enumerate(videos):
        for other in videos[i + 1 :]:
            assert not np.array_equal(one, other)


def test_appearance_of_zero_leaves_the_subjects_look_out_of_the_motion(world: World) -> None:
    with_look = video(world, subject=1, motion=1)
    without = video(world, subject=1, motion=1, appearance_cond=0.0, appearance_uncond=0.0)
    assert not np.array_equal(with_look, without)


def test_the_factor_multiplies_what_was_learned(world: World) -> None:
    factor = video(world, subject=1, motion=1, appearance=0.5)
    named = video(world, subject=1, motion=1, appearance_cond=0.5, appearance_uncond=0.5)
    assert np.array_equal(factor, named)


def test_a_photo_tells_a_motion_another_look(world: World) -> None:
    first, second = photos().photos[:2]
    own, one, other = (video(world, motion=1, photo=photo) for photo in (None, first, second))
    assert not np.array_equal(own, one)
    assert not np.array_equal(one, other)
    assert np.array_equal(video(world, motion=1, photo=first), one)


def test_a_photo_stands_in_place_of_the_subjects_look(world: World) -> None:
    """Strength 0 leaves either out; otherwise they differ."""
    photo = photos(10).photos[9]
    own = video(world, subject=1, motion=1)
    assert not np.array_equal(video(world, subject=1, motion=1, photo=photo), own)
    silent = [video(world, subject=1, motion=1, photo=each, appearance=0) for each in (None, photo)]
    assert np.array_equal(*silent)


def test_a_motion_that_never_saw_a_look_reads_none(world: World, tmp_path: Path) -> None:
    blind = MotionRecipe(caption="sweeping", steps=3, lr=0.05, batch=2, image_drop=1.0)
    learned = learn_motion(blind, [clip()], world.location, tmp_path)
    unseeing = world._replace(motion=learned.weights)
    told = [video(unseeing, motion=1, photo=photo) for photo in (None, *photos().photos[:2])]
    assert np.array_equal(told[0], told[1])
    assert np.array_equal(told[0], told[2])
    assert not np.array_equal(told[0], video(unseeing, motion=1, appearance=0))


def test_a_photo_changes_nothing_where_no_motion_is_told(world: World) -> None:
    photo = photos().photos[0]
    assert np.array_equal(video(world, subject=1, photo=photo), video(world, subject=1))


def test_another_photo_than_the_recipes_is_refused(world: World) -> None:
    with pytest.raises(RecipeError, match=r"appearance_photo is the photo abababababab, and none"):
        video(world, motion=1, appearance_photo="ab" * 32)


def test_a_photo_is_seen_through_the_tower_that_the_motion_was_learned_with(world: World) -> None:
    loaded = LoadedBase(replace(world.location, tower_fingerprint="ab" * 32))
    adapters = load_adapters([AdapterUse(world.motion, "motion")], world.location)
    with (
        pytest.raises(IncompatibleError, match="image tower abababababab"),
        loaded.equipped(adapters, photos().photos[0]),
    ):
        pass


@pytest.mark.parametrize("turn", [{"identity_from": 0.0}, {"motion_until": 1.0}])
def test_acting_in_every_step_is_the_plain_video(world: World, turn: dict[str, float]) -> None:
    plain = video(world, subject=1, motion=1)
    assert np.array_equal(video(world, subject=1, motion=1, **turn), plain)


def test_identity_that_waits_changes_the_video_but_not_a_motion_alone(world: World) -> None:
    late = video(world, subject=1, motion=1, identity_from=0.5)
    assert not np.array_equal(late, video(world, subject=1, motion=1))
    assert np.array_equal(video(world, motion=1, identity_from=0.5), video(world, motion=1))


def test_a_share_of_the_identity_before_its_turn_lies_between_none_and_all(world: World) -> None:
    waits = {"subject": 1.0, "motion": 1.0, "identity_from": 1.0}
    assert np.array_equal(
        video(world, **waits, identity_early=1.0), video(world, subject=1, motion=1)
    )
    halved = video(world, subject=0.5, motion=1)
    uses = [AdapterUse(world.subject, "subject"), AdapterUse(world.motion, "motion")]
    recipe = msgspec.structs.replace(RECIPE, identity_from=1.0, identity_early=0.5)
    with open_generator(world.location, uses) as generator:
        generator.composition.set_step(recipe, 0)
        assert [bank.weight for bank in generator.composition.banks] == [0.5, 1.0]
    assert not np.array_equal(
        video(world, **waits, identity_early=0.5), halved
    )  # the word is whole


def test_identity_that_never_comes_leaves_word_and_motion(world: World) -> None:
    steps = RECIPE.steps
    never = video(world, subject=1, motion=1, identity_from=1.0)
    last = video(world, subject=1, motion=1, identity_from=(steps - 1) / steps)
    assert not np.array_equal(never, last)
    assert not np.array_equal(never, video(world, motion=1, prompt="a dog sweeping"))


def test_a_motion_that_ends_early_changes_a_composition_only(world: World) -> None:
    early = video(world, subject=1, motion=1, motion_until=0.5)
    assert not np.array_equal(early, video(world, subject=1, motion=1))
    assert np.array_equal(video(world, subject=1, motion_until=0.5), video(world, subject=1))
    assert np.array_equal(video(world, motion=1, motion_until=0.5), video(world, motion=1))


def test_a_motion_that_ends_at_once_leaves_the_subject(world: World) -> None:
    never = video(world, subject=1, motion=1, motion_until=0.0)
    assert np.array_equal(never, video(world, subject=1, prompt=RECIPE.prompt))


@pytest.mark.parametrize("sliced", [False, True])
def test_the_unconditional_half_has_its_share_of_the_adapters(
    world: World, sliced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At share 0 it is the bare base's, at 1 the adapted one, while the conditional half stays the same."""
    halves: list[Tensor] = []
    apply = samplers.apply_cfg
    monkeypatch.setattr(samplers, "apply_cfg", lambda *of: halves.extend(of[:2]) or apply(*of))
    uses = [AdapterUse(world.subject, "subject"), AdapterUse(world.motion, "motion")]

    def first_step(uses: list[AdapterUse], **values: Any) -> tuple[Tensor, Tensor]:
        halves.clear()
        recipe = msgspec.structs.replace(RECIPE, guidance=3.0, **values)
        with open_generator(world.location, uses) as generator:
            generator.sample(recipe, sliced=sliced)
        return halves[0], halves[1]

    none, motion, both = (
        first_step(uses, subject_uncond=s, motion_uncond=m) for s, m in ((0, 0), (0, 1), (1, 1))
    )
    bare = first_step([], prompt="a dog sweeping")
    torch.testing.assert_close(none[0], bare[0])
    torch.testing.assert_close(both[0], first_step(uses)[0])
    assert not torch.allclose(motion[0], none[0])
    assert not torch.allclose(motion[0], both[0])
    for given in (none, motion):
        torch.testing.assert_close(given[1], both[1])


def test_an_adapter_carries_its_share_of_the_unconditional_half(world: World) -> None:
    """What it was learned for holds unless the recipe says another; files of before have all of it."""
    loaded = LoadedBase(world.location, device="cpu")
    use = AdapterUse(world.subject, "subject")
    ((_, adapter),) = load_adapters([use], world.location)

    def made(recipe: GenerateRecipe, **learned: float) -> np.ndarray:
        told = {**adapter.facts.recipe, **learned}
        if not learned:
            del told["uncond"]
        facts = msgspec.structs.replace(adapter.facts, recipe=told)
        with loaded.equipped([(use, replace(adapter, facts=facts))]) as generator:
            return generator.sample(recipe)

    quarter = msgspec.structs.replace(RECIPE, subject_uncond=0.25)
    whole = msgspec.structs.replace(RECIPE, subject_uncond=1.0)
    assert np.array_equal(made(RECIPE, uncond=0.25), made(quarter))
    assert np.array_equal(made(whole, uncond=0.25), made(RECIPE))
    assert not np.array_equal(made(quarter), made(whole))


def test_without_guidance_no_share_changes_a_bit(world: World) -> None:
    plain = {"subject": 1.0, "motion": 1.0, "guidance": 1.0}
    bare = video(world, **plain, subject_uncond=0.0, motion_uncond=0.3)
    assert np.array_equal(bare, video(world, **plain))


def test_a_subject_alone_waits_for_nothing(world: World) -> None:
    assert np.array_equal(video(world, subject=1, identity_from=1.0), video(world, subject=1))


def test_identity_acts_again_from_the_start_in_the_next_video(world: World) -> None:
    uses = [AdapterUse(world.subject, "subject"), AdapterUse(world.motion, "motion")]
    with open_generator(world.location, uses) as generator:
        first = generator.sample(RECIPE)
        generator.sample(msgspec.structs.replace(RECIPE, identity_from=1.0))
        assert np.array_equal(generator.sample(RECIPE), first)


def test_a_base_kept_loaded_makes_what_a_fresh_one_makes(world: World) -> None:
    both = [AdapterUse(world.subject, "subject"), AdapterUse(world.motion, "motion", 0.5)]
    sets = [both, both[1:], [], [AdapterUse(world.subject, "subject", 0.0)], both]
    loaded = LoadedBase(world.location, device="cpu")
    for uses in sets:
        with loaded.equipped(load_adapters(uses, world.location)) as generator:
            kept = generator.sample(RECIPE)
        with open_generator(world.location, uses) as generator:
            assert np.array_equal(kept, generator.sample(RECIPE))


def test_a_loaded_base_keeps_banks_and_lets_the_oldest_go(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.generate.MOST_KEPT_BANKS", 1)
    loaded = LoadedBase(world.location, device="cpu")
    subject, motion = AdapterUse(world.subject, "subject"), AdapterUse(world.motion, "motion")
    banks = []
    for use in (subject, subject, motion, subject):
        with loaded.equipped(load_adapters([use], world.location)) as generator:
            banks.append(generator.composition.banks[0])
    assert banks[0] is banks[1]
    assert banks[3] is not banks[0]


def test_looks_through_another_tower_are_refused(
    world: World, tiny_folder: Path, tmp_path: Path
) -> None:
    tower = build_image_tower(tmp_path / "tower")
    (tmp_path / "subject").mkdir()
    location = locate_base(str(tiny_folder), image_tower=str(tower))
    recipe = SubjectRecipe(word_steps=1, adapter_steps=1, batch=1)
    other = learn_subject(recipe, photos(1), location, tmp_path / "subject", token="<toy>")
    uses = [AdapterUse(other.weights, "subject"), AdapterUse(world.motion, "motion")]
    with (
        pytest.raises(IncompatibleError, match="different image towers"),
        open_generator(world.location, uses),
    ):
        pass
    with open_generator(world.location, uses[:1]) as generator:
        assert generator.sample(RECIPE).shape[0] == RECIPE.frames


def test_a_settled_recipe_has_nothing_left_auto(world: World) -> None:
    with open_generator(world.location, []) as generator:
        settled = generator.settled(RECIPE)
    assert settled.precision == "fp32"
    assert settled.threads >= 1


def test_a_video_that_is_not_finite_is_no_video(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.bases.models.unet3d import UNet3DBase

    monkeypatch.setattr(UNet3DBase, "denoise", lambda _, latents, *__: latents * float("nan"))
    with pytest.raises(DivergedError, match="is not finite"):
        video(world)


def test_guidance_of_one_needs_no_second_half(world: World) -> None:
    assert np.array_equal(
        video(world, subject=1, motion=1, guidance=1.0),
        video(world, subject=1, motion=1, guidance=1.0, negative="a red box"),
    )


def test_an_interval_of_all_steps_is_plain_guidance(world: World) -> None:
    whole = video(world, subject=1, motion=1, guidance_from=0.0, guidance_until=1.0)
    assert np.array_equal(whole, video(world, subject=1, motion=1))


def test_outside_its_interval_guidance_costs_no_second_half(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.bases.models.unet3d import UNet3DBase

    calls = []
    denoise = UNet3DBase.denoise

    def watch(self, latents, times, text):
        calls.append((len(latents), len(text)))
        return denoise(self, latents, times, text)

    monkeypatch.setattr(UNet3DBase, "denoise", watch)
    early = video(world, subject=1, motion=1, steps=4, guidance_until=0.5)
    assert calls == [(2, 2), (2, 2), (1, 1), (1, 1)]
    calls.clear()
    late = video(world, subject=1, motion=1, steps=4, guidance_from=0.75)
    assert calls == [(1, 1), (1, 1), (1, 1), (2, 2)]
    assert not np.array_equal(early, late)


def test_guided_steps_end_where_their_fraction_does() -> None:
    recipe = msgspec.structs.replace(RECIPE, steps=30, guidance_from=0.1, guidance_until=0.7)
    assert recipe.guided_steps == range(3, 21)
    assert not msgspec.structs.replace(recipe, guidance=1.0).guided_steps
    assert recipe.count_calls() == 30 + 18
    assert msgspec.structs.replace(recipe, refine=1).count_calls() == 2 * (30 + 18)


def both_of(world: World) -> list[AdapterUse]:
    return [AdapterUse(world.subject, "subject"), AdapterUse(world.motion, "motion", 0.5)]


@pytest.mark.parametrize("sliced", [False, True])
def test_videos_made_together_are_those_made_alone(world: World, sliced: bool) -> None:
    """The noise is a seed's alone, and each video has its own prompt; the last bits may differ."""
    prompts = ["a <corgi> sweeping", "a red box", "a <corgi>"]
    recipes = [
        msgspec.structs.replace(RECIPE, prompt=prompt, negative=prompt[2:4], seed=seed, batch=3)
        for seed, prompt in enumerate(prompts)
    ]
    with open_generator(world.location, both_of(world)) as generator:
        together = generator.sample_together(recipes, sliced=sliced)
        alone = [generator.sample(msgspec.structs.replace(each, batch=1)) for each in recipes]
    for one, other in zip(together, alone, strict=True):
        assert np.abs(one.astype(int) - other.astype(int)).max() <= 1


def test_a_video_of_a_batch_is_made_again_by_itself_bit_for_bit(world: World) -> None:
    recipes = [msgspec.structs.replace(RECIPE, seed=seed, batch=3) for seed in range(3)]
    with open_generator(world.location, both_of(world)) as generator:
        together = generator.sample_together(recipes)
        for video, recipe in zip(together, recipes, strict=True):
            assert np.array_equal(generator.sample(recipe), video)


def test_videos_that_differ_in_more_than_prompts_and_seed_share_no_batch(world: World) -> None:
    one = msgspec.structs.replace(RECIPE, batch=2)
    with open_generator(world.location, ()) as generator:
        with pytest.raises(RecipeError, match="differ in prompts and seed alone"):
            generator.sample_together([one, msgspec.structs.replace(one, guidance=2.0)])
        with pytest.raises(RecipeError, match="is refined, is made by itself"):
            generator.sample_together([msgspec.structs.replace(one, refine=1)] * 2)
        with pytest.raises(RecipeError, match="3 videos are more than the batch of 2"):
            generator.sample_together([one] * 3)


def test_prompts_are_read_once_while_a_base_stays_loaded(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.bases.models.unet3d import UNet3DBase

    read = []
    encode = UNet3DBase.encode_text

    def watch(self, prompts, words):
        read.append(tuple(prompts))
        return encode(self, prompts, words)

    monkeypatch.setattr(UNet3DBase, "encode_text", watch)
    loaded = LoadedBase(world.location, device="cpu")
    for weight in (1.0, 1.0, 0.5):  # the word differs with its weight, and is read anew
        uses = [AdapterUse(world.subject, "subject", weight)]
        with loaded.equipped(load_adapters(uses, world.location)) as generator:
            for seed in range(2):
                generator.sample(msgspec.structs.replace(RECIPE, seed=seed))
    assert read == [("", RECIPE.prompt)] * 2


def test_the_unconditional_half_is_told_the_negative_prompt(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And comes first; without guidance nobody is told of it."""
    from engine.bases.models.unet3d import UNet3DBase

    read = []
    encode = UNet3DBase.encode_text

    def watch(self, prompts, words):
        read.extend(prompts)
        return encode(self, prompts, words)

    monkeypatch.setattr(UNet3DBase, "encode_text", watch)
    one, other = (video(world, prompt="a dog", negative=text) for text in ("", "a red box"))
    assert read == ["", "a dog", "a red box", "a dog"]
    assert not np.array_equal(one, other)
    read.clear()
    video(world, prompt="a dog", negative="a red box", guidance=1.0)
    assert read == ["a dog"]


def test_a_size_between_latents_is_refused_with_the_nearest(world: World) -> None:
    with pytest.raises(RecipeError, match="height is 33 px") as caught:
        video(world, height_px=33)
    assert caught.value.hint == "32 or 36"


def test_more_steps_than_timesteps_are_refused(world: World) -> None:
    with pytest.raises(RecipeError, match="steps is 2000"):
        video(world, steps=2000)


def test_a_subject_is_not_taken_for_a_motion(world: World) -> None:
    uses = [AdapterUse(world.subject, "motion")]
    with (
        pytest.raises(IncompatibleError, match="is a subject, not a motion"),
        open_generator(world.location, uses),
    ):
        pass


def test_two_subjects_with_one_word_are_refused(world: World, tmp_path: Path) -> None:
    copy = Path(shutil.copy(world.subject, tmp_path / "copy.safetensors"))
    uses = [AdapterUse(world.subject, "subject"), AdapterUse(copy, "subject")]
    with (
        pytest.raises(IncompatibleError, match="share the word <corgi>"),
        open_generator(world.location, uses),
    ):
        pass


def test_an_adapter_of_another_base_is_refused_naming_both(world: World, tmp_path: Path) -> None:
    other = locate_base(str(build_unet3d(tmp_path / "other", seed=1)))
    with (
        pytest.raises(IncompatibleError) as caught,
        open_generator(other, [AdapterUse(world.subject, "subject")]),
    ):
        pass
    assert world.location.fingerprint[:12] in caught.value.message
    assert other.fingerprint[:12] in caught.value.message


def test_a_damaged_file_is_refused(world: World, tmp_path: Path) -> None:
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(world.subject.read_bytes()[:-100])
    with (
        pytest.raises(IntegrityError, match="cannot be read"),
        open_generator(world.location, [AdapterUse(broken, "subject")]),
    ):
        pass


def test_leaving_the_generator_takes_its_hooks_off(world: World) -> None:
    uses = [AdapterUse(world.subject, "subject"), AdapterUse(world.motion, "motion")]
    with open_generator(world.location, uses) as generator:
        denoiser = generator._base.denoiser
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in denoiser.modules())


def test_a_file_that_is_replaced_gives_the_new_video(world: World, tmp_path: Path) -> None:
    """What is kept of an adapter is known by what its file holds, not by where it lies."""
    place = tmp_path / "motion.safetensors"
    other = learn_motion(
        MotionRecipe(caption="spinning", steps=3, lr=0.05, batch=2, seed=1),
        [clip(1)],
        world.location,
        tmp_path,
    )
    loaded, videos = LoadedBase(world.location, device="cpu"), []
    for file in (world.motion, other.weights):
        place.write_bytes(file.read_bytes())
        uses = load_adapters([AdapterUse(place, "motion")], world.location)
        with loaded.equipped(uses) as generator:
            videos.append(generator.sample(RECIPE))
    assert np.array_equal(videos[0], video(world, motion=1))
    assert np.array_equal(videos[1], video(world._replace(motion=other.weights), motion=1))
    assert not np.array_equal(*videos)


def test_two_files_of_one_motion_act_at_both_weights(world: World, tmp_path: Path) -> None:
    """``0.25·Δ + 0.75·Δ`` is the motion at weight 1, up to rounding; neither half takes the other's weight."""
    copy = shutil.copy(world.motion, tmp_path / "copy.safetensors")
    uses = [AdapterUse(world.motion, "motion", 0.25), AdapterUse(Path(copy), "motion", 0.75)]
    with open_generator(world.location, uses) as generator:
        assert [bank.weight for bank in generator.composition.banks] == [0.25, 0.75]
        both = generator.sample(RECIPE)
    assert np.abs(both.astype(int) - video(world, motion=1).astype(int)).max() <= 1


def test_a_weight_scales_the_learned_word(world: World) -> None:
    """``class + w·(word - class)``: at 1 the word itself, at 0 the class word."""
    base = open_tiny(world.location.folder)
    adapter = load_adapter(world.subject)
    start, word = base.start_word("dog")[0], adapter.tensors[WORD]
    for weight in (0.5, 1.0, 2.0):
        found = build_delta(adapter, base, weight=weight).words(base)["<corgi>"].vectors
        torch.testing.assert_close(found, start + weight * (word - start))
    assert torch.equal(build_delta(adapter, base).words(base)["<corgi>"].vectors, word)
    assert build_delta(adapter, base, weight=0.0).words(base) == {}
