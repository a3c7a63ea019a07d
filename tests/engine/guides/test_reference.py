"""Photos that are read while a video is made, on every family."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engine.errors import RecipeError
from engine.guides.inputs import Guides
from engine.recipe import build_recipe
from engine.sources import Reference
from tests.engine.guides.test_start import recipe_of, video
from tests.engine.samples import photo

PHOTOS = (photo(1), photo(2, masked=True))


def reference(*photos, **changes):
    return build_recipe(
        Reference,
        {
            "photos": [each.digest for each in photos],
            "weights": [10.0] * len(photos),
            "masks": [each.mask_digest for each in photos],
            "prompt": "a dog",
            "blocks": "full",
            **changes,
        },
    )


def read(loaded, *photos, guidance_scale=9.0, **changes):
    return video(
        loaded,
        Guides(reference=photos),
        reference=reference(*photos, **changes),
        guidance=guidance_scale,
        steps=4,
    )


def plain(photo_):
    return replace(photo_, mask=None)


@pytest.mark.parametrize("off", [{"weights": [0.0]}, {"until": 0.0}])
def test_without_weight_or_steps_it_is_the_base_bit_for_bit(loaded, off):
    made = read(loaded, plain(PHOTOS[0]), masks=[], **off)
    assert np.array_equal(made, video(loaded, guidance=9.0, steps=4))


def test_a_photo_its_mask_the_half_and_the_window_each_change_the_video(loaded):
    one, two = plain(PHOTOS[0]), PHOTOS[1]
    videos = [
        video(loaded, guidance=9.0, steps=4),
        read(loaded, one, masks=[]),
        read(loaded, one, masks=[], until=0.5),
        read(loaded, one, masks=[], guidance="both"),
        read(loaded, plain(two), masks=[]),
        read(loaded, two),
        read(loaded, one, two),
    ]
    assert len({made.tobytes() for made in videos}) == len(videos)


def test_halves_one_after_the_other_read_as_halves_together(loaded):
    one = plain(PHOTOS[0])
    recipe = {"reference": reference(one, masks=[]), "guidance": 9.0}
    with loaded.equipped([], guides=Guides(reference=(one,))) as generator:
        together, apart = (
            generator.sample(recipe_of(loaded, **recipe), sliced=sliced).astype(int)
            for sliced in (False, True)
        )
    assert np.abs(together - apart).max() <= 2


def test_a_reference_has_a_weight_a_photo_and_is_what_was_given(loaded):
    with pytest.raises(RecipeError, match="weight and a mask for each"):
        reference(PHOTOS[0], weights=[1.0, 2.0])
    with pytest.raises(RecipeError, match="reference mask is nothing"):
        video(loaded, Guides(reference=PHOTOS), reference=reference(*PHOTOS, masks=[]))


def test_a_mask_that_vanishes_is_refused(loaded):
    nothing = replace(PHOTOS[1], mask=np.zeros_like(PHOTOS[1].mask))
    with pytest.raises(RecipeError, match="too small to be seen"):
        read(loaded, nothing)
