"""The table of known bases holds what is counted at full size, on the meta device."""

from __future__ import annotations

import pytest

from engine.bases.names.releases import RELEASES, Work
from tests.bench.full_size import DENOISERS, count_flops, count_numbers

EXPERTS = {"wan2.2-a14b": 2}
BATCH = {"modelscope": 4, "zeroscope": 4}  # photos at a time


def test_every_known_base_is_counted() -> None:
    assert DENOISERS.keys() == RELEASES.keys()


@pytest.mark.parametrize("name", RELEASES)
def test_memory_holds_the_weights_at_least(name: str) -> None:
    release = RELEASES[name]
    weights = 2 * release.numbers * 1e9 / 2**30
    for work in (release.subject, release.motion, release.video):
        assert work.memory_gib > weights


@pytest.mark.slow
@pytest.mark.parametrize("name", RELEASES)
def test_numbers_and_flops_are_the_counted_ones(name: str) -> None:
    release, denoiser = RELEASES[name], DENOISERS[name]
    model = denoiser.build()
    numbers = EXPERTS.get(name, 1) * count_numbers(model) / 1e9
    assert release.numbers == pytest.approx(numbers, abs=0.01)

    def counted(work: Work) -> float:
        return count_flops(denoiser, model, (work.frames, work.height_px, work.width_px))

    if name != "animatediff":  # which steps over its motion modules where it learns photos
        photos = BATCH.get(name, 1) * counted(release.subject)
        assert release.subject.tflop == pytest.approx(photos, rel=0.01)
    assert release.motion.tflop == pytest.approx(counted(release.motion), rel=0.01)
    assert release.video.tflop == pytest.approx(counted(release.video), rel=0.01)
