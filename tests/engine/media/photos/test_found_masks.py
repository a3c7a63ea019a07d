"""Masks found by colours: true ones where there is a subject, doubts where there is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from engine.media.photos import Photo, read_photos
from engine.media.photos.found_masks import find_masks, mask_photographs, mask_photos
from engine.media.photos.mixtures import fit_mixture
from tests.engine.media.drawings import rough, scene

Pixels = NDArray[np.uint8]


SCENES = [scene(1, 0.5, 0.5, 0.25), scene(2, 0.42, 0.55, 0.3), scene(3, 0.6, 0.45, 0.15)]


def overlap(mask: Pixels, true: NDArray[np.bool_]) -> float:
    """Intersection over union."""
    found = mask > 127
    return float((found & true).sum() / (found | true).sum())


def as_photo(pixels: Pixels, number: int, mask: Pixels | None = None) -> Photo:
    return Photo(Path(f"{number}.png"), pixels, mask, f"{number:064d}")


def test_the_masks_of_rough_discs_are_found() -> None:
    pictures = [picture for picture, _ in SCENES]
    found = find_masks(pictures)
    assert [each.doubt for each in found] == [None] * 3
    assert all(
        overlap(each.mask, disc) > 0.93 for each, (_, disc) in zip(found, SCENES, strict=True)
    )


def test_a_mask_has_its_photos_size_and_repeats() -> None:
    picture = np.asarray(Image.fromarray(SCENES[0][0]).resize((301, 200)))
    (found,), (again,) = find_masks([picture]), find_masks([picture])
    assert (found.mask.shape, found.mask.dtype) == ((200, 301), np.uint8)
    assert np.array_equal(found.mask, again.mask)
    assert find_masks([]) == []


@pytest.mark.parametrize(
    "picture",
    [
        rough(5, (70, 120, 60)),
        np.full((80, 80, 3), 90, np.uint8),
        scene(4, 0.5, 0.5, 0.66)[0],
    ],
    ids=["texture", "one colour", "beyond the frame"],
)
def test_a_mask_that_is_most_likely_wrong_is_not_used(picture: Pixels) -> None:
    (photo,) = mask_photos([as_photo(picture, 1)])
    assert photo.mask is None
    assert photo.mask_from is None
    why = "what is in its middle has the colours of what is around it"
    assert photo.notes == (f"no mask was found, for {why}: all of it is learned",)


def test_masks_that_are_there_stay_and_drawings_are_left_alone() -> None:
    own = np.full((120, 120), 255, np.uint8)
    first, second = mask_photos([as_photo(SCENES[0][0], 1, own), as_photo(SCENES[1][0], 2)])
    assert first.mask is own
    assert second.mask_from == "colours"
    drawing = np.full((120, 120, 3), 240, np.uint8)
    drawing[40:80, 40:80] = (200, 30, 30)
    assert mask_photographs([as_photo(drawing, 3)])[0].mask is None
    assert mask_photographs([as_photo(SCENES[0][0], 4)])[0].mask is not None


def test_a_mixture_finds_the_colours_that_pixels_were_drawn_from() -> None:
    rng = np.random.default_rng(0)
    parts = [rng.normal(mean, 8, (count, 3)) for mean, count in ((60, 300), (200, 700))]
    mixture = fit_mixture(np.concatenate(parts), np.ones(1000), 2)
    order = np.argsort(mixture.shares)
    assert mixture.shares[order] == pytest.approx([0.3, 0.7], abs=0.01)
    assert mixture.means[order].mean(1) == pytest.approx([60, 200], abs=2)
    likely = mixture.log_density(np.array([[200.0] * 3, [60.0] * 3, [130.0] * 3]))
    assert likely[0] > likely[1] > likely[2]


@pytest.mark.parametrize(
    ("subject", "least"), [("dog2", 0.92), ("wolf_plushie", 0.9), ("tea_box", 0.94)]
)
def test_masks_of_real_photos_meet_the_true_ones(
    real_data: Path, subject: str, least: float
) -> None:
    folder = real_data / "subjects" / subject
    files = sorted(path for path in folder.iterdir() if path.is_file())[:4]
    photos = read_photos(files, masks=folder / "masks").photos
    true = [photo.mask for photo in photos]
    found = find_masks([photo.pixels for photo in photos])
    assert [each.doubt for each in found] == [None] * len(true)
    met = [
        overlap(each.mask, mask > 127)
        for each, mask in zip(found, true, strict=True)
        if mask is not None
    ]
    assert np.mean(met) > least
    assert min(met) > 0.8


def test_photos_of_nothing_get_no_masks(real_data: Path) -> None:
    wolf = real_data / "subjects" / "wolf_plushie"
    pictures = {photo.path.stem: photo.pixels for photo in read_photos([wolf]).photos}
    nothing = [
        pictures["00"][:240],
        pictures["00"][420:, :400],
        pictures["01"][430:],
        pictures["04"][:150],
    ]
    assert all(each.doubt for each in find_masks(nothing))
    assert all(find_masks([each])[0].doubt for each in nothing)
