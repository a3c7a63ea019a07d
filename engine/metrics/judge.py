"""Who scores what is learned while it is learned: the measures of `dv eval`, the towers opened once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from statistics import fmean

from engine.errors import ScorerMissingError
from engine.media.clips.reader import Clip
from engine.media.photos import PhotoSet
from engine.media.pixels import Pixels
from engine.metrics.definitions import Measured
from engine.metrics.places import require_open_cv
from engine.metrics.scores import References, Standard, names_of, score_against, set_standard
from engine.metrics.towers import open_towers
from engine.progress import Note, Progress

# What several references make of one score; of any other it is their mean.
COMBINED: Mapping[str, Callable[[list[float]], float]] = {"clip copy risk": max}


def references_of_photos(photos: PhotoSet, class_word: str) -> tuple[References, ...]:
    """A subject is measured against the photo that was held out, or where none was against all of them.

    Only what was learned can be copied.
    """
    learned = tuple(photo.pixels for photo in photos.photos)
    shown = (photos.held_out.pixels,) if photos.held_out else learned
    return (References(shown, prompt=f"a {class_word}", learned=learned),)


def references_of_clips(clips: Sequence[Clip], caption: str) -> tuple[References, ...]:
    """A motion is measured against every clip it is learned from."""
    first, *others = clips
    return (
        References(clip=first.frames, prompt=caption),
        *(References(clip=clip.frames) for clip in others),
    )


class Judge:
    """Scores one video after the other; photos, prompt and towers are taken in once, with the first.

    Without OpenCV the scores that need it are left out, which is told once.
    """

    def __init__(
        self, references: Sequence[References], scorers: Sequence[str], progress: Progress
    ) -> None:
        """Measure against ``references``, the first of them by the towers called ``scorers`` too."""
        self._references, self._scorers, self._progress = references, scorers, progress

    def __call__(self, frames: Pixels) -> Measured:
        """Every score of ``frames``, uint8 (f, h, w, 3), over the references that it is measured against.

        It is their mean, of a copy risk the highest. Of several towers of a family the first has the metric's name.

        Raises:
            ScorerMissingError, BaseInvalidError: see `open_tower`.
        """
        found: dict[tuple[str, str], list[float]] = {}
        doubts: dict[tuple[str, str], str] = {}
        for standard in self._standards:
            for score in score_against(frames, standard):
                found.setdefault((score.metric, score.by), []).append(score.value)
                if score.doubt is not None:
                    doubts[score.metric, score.by] = score.doubt
        names = names_of(found)
        values = {
            names[measured]: COMBINED.get(measured[0], fmean)(values)
            for measured, values in found.items()
        }
        return Measured(values, {names[measured]: text for measured, text in doubts.items()})

    @cached_property
    def _standards(self) -> tuple[Standard, ...]:
        first, *others = self._references
        has_cv = self._has_cv()
        standard = set_standard(first, open_towers(self._scorers), has_cv=has_cv)
        return (standard, *(set_standard(each, (), has_cv=has_cv) for each in others))

    def _has_cv(self) -> bool:
        try:
            require_open_cv()
        except ScorerMissingError as error:
            self._progress(Note(f"some scores are left out: {error.line}"))
            return False
        return True
