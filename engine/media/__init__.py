"""Bytes to pixels and back, nothing silent: no photo or frame is replaced, dropped or invented.

Map:
    photos/   photos of a subject, with masks, as the engine learns from them
    clips/    frames of a clip taken by time
    pictures  one picture file to pixels; `signatures` names files by content, `colours` makes sRGB
    write     frames to mp4, gif, webp or png, with a comment that `comments` reads back
    sheets    labelled contact sheets of videos
    contact   contact sheets of what will be learned from
    archive   frames kept in a file as they are

Pixels are uint8 sRGB, channels last. Nothing here imports torch.
"""
