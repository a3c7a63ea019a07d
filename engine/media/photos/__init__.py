"""Photos of a subject: read, masked, looked at for faults, and framed for a base."""

from engine.media.photos.framing import frame_photo, place_photo
from engine.media.photos.photo import Photo, PhotoSet, PhotoWarning, Skipped
from engine.media.photos.reader import gather_photos, read_photo, read_photos

__all__ = [
    "Photo",
    "PhotoSet",
    "PhotoWarning",
    "Skipped",
    "frame_photo",
    "gather_photos",
    "place_photo",
    "read_photo",
    "read_photos",
]
