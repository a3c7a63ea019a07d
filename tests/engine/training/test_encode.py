"""What learning sees of photos and clips: each framed by itself, its mask at the latents' size, its look."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from engine.bases.pixels import to_unit
from engine.bases.protocol import Base
from engine.media.clips.reader import frame_clip
from engine.media.photos import frame_photo
from engine.media.photos.views import views_of
from engine.progress import Event, Note, StageAdvanced, StageEnded, StageStarted, ignore
from engine.training.encode import encode_clips, encode_photos
from tests.engine.samples import clip, photo, photos
from tests.tiny import HEIGHT_PX, LATENT_SCALE, WIDTH_PX

SIZE = HEIGHT_PX, WIDTH_PX


def shrunk(mask: np.ndarray) -> torch.Tensor:
    """The mean over the pixels of each latent."""
    blocks = torch.from_numpy(mask).float().unfold(0, LATENT_SCALE, LATENT_SCALE)
    return blocks.unfold(1, LATENT_SCALE, LATENT_SCALE).mean(dim=(2, 3)) / 255


def test_each_photo_has_its_own_latents_mask_and_look(tiny_base: Base) -> None:
    """Every view is that of its photo's own number; what has no mask counts whole beside what has one."""
    seen = photos(3, masked=True)
    seen = replace(seen, photos=(*seen.photos[:2], replace(seen.photos[2], mask=None)))
    told: list[Event] = []
    encoded = encode_photos(tiny_base, seen, told.append, views=2, frames=3, seed=5)
    assert encoded.names == ("0.png", "0.png", "1.png", "1.png", "2.png", "2.png")
    assert encoded.latents.shape == (6, 4, 3, HEIGHT_PX // LATENT_SCALE, WIDTH_PX // LATENT_SCALE)
    for number, member in enumerate(seen.photos):
        pixels, mask, _ = frame_photo(member, *SIZE)
        look = tiny_base.encode_image(to_unit(pixels)[None])[0]
        assert torch.equal(encoded.appearance[number], look)
        for view, (part, area) in enumerate(views_of(pixels, mask, 2, 5 + number + 1)):
            row = 2 * number + view
            alone = tiny_base.encode_video(to_unit(part)[None, :, None])[0]
            assert torch.equal(encoded.latents[row], alone.expand(-1, 3, -1, -1))
            whole = np.full(SIZE, 255, np.uint8) if area is None else area
            torch.testing.assert_close(encoded.masks[row, 0, 0], shrunk(whole))
    stage = [event for event in told if not isinstance(event, Note)]
    assert [type(event) for event in stage] == [StageStarted, *[StageAdvanced] * 3, StageEnded]
    assert [event.step for event in stage[1:4]] == [1, 2, 3]
    assert {event.total for event in stage[:4]} == {3}


def test_photos_without_masks_have_none(tiny_base: Base) -> None:
    encoded = encode_photos(tiny_base, photos(2), ignore)
    assert encoded.masks is None
    assert encoded.latents.shape[:3] == (2, 4, 1)


def test_a_clip_is_seen_frame_by_frame_in_its_order(tiny_base: Base) -> None:
    clips, told = [clip(0, frames=4), clip(1, frames=3)], []
    encoded = encode_clips(tiny_base, clips, told.append)
    for each, found in zip(clips, encoded, strict=True):
        frames = to_unit(frame_clip(each, *SIZE))
        assert found.name == each.path.name
        assert torch.equal(found.latents, tiny_base.encode_video(frames.transpose(0, 1)[None])[0])
        assert torch.equal(found.appearance, tiny_base.encode_image(frames))
    assert [event.step for event in told if isinstance(event, StageAdvanced)] == [1, 2]
    (blind,) = encode_clips(tiny_base, clips[:1], ignore, with_looks=False)
    assert blind.appearance is None
    assert torch.equal(blind.latents, encoded[0].latents)


@pytest.mark.parametrize(("count", "used"), [(1, 1), (4, 1), (5, 5), (8, 5), (9, 9)])
def test_of_a_clip_as_many_frames_are_used_as_the_base_takes(count: int, used: int) -> None:
    """4·k + 1 of them; what is left out is said."""
    base = SimpleNamespace(
        geometry=SimpleNamespace(height_px=HEIGHT_PX, width_px=WIDTH_PX, frame_step=4),
        encode_video=lambda video: video,
        encode_image=lambda frames: frames,
    )
    told: list[Event] = []
    (encoded,) = encode_clips(base, [clip(0, frames=count)], told.append, with_looks=False)
    assert encoded.latents.shape == (3, used, HEIGHT_PX, WIDTH_PX)
    notes = [event.text for event in told if isinstance(event, Note)]
    left_out = f"0.mp4: the base takes 4·k + 1 frames: {used} of {count} are used"
    assert notes == ([] if used == count else [left_out])


def test_a_mask_of_one_photo_does_not_stand_for_another(tiny_base: Base) -> None:
    one, two = photo(0, masked=True), photo(1, masked=True)
    forth, back = (
        encode_photos(tiny_base, replace(photos(1), photos=members), ignore).masks
        for members in ((one, two), (two, one))
    )
    assert torch.equal(forth, back.flip(0))
    assert not torch.equal(forth[0], forth[1])
    assert 0 < float(forth.mean()) < 1
