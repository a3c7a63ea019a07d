"""Bytes to pixels and back, nothing silent: no photo or frame is replaced, dropped or invented.

Map:
    photos   a few photos of a subject, with masks, as the engine learns from them
    clips/   frames of a clip taken by time
    write    frames to mp4, gif, webp or png, with a comment that `comments` reads back
    doubts   what a person should look at in photos that can be used
    sheets   labelled contact sheets of videos
    contact  contact sheets of what will be learned from
    archive  frames kept in a file as they are

Pixels are uint8 sRGB, channels last. Nothing here imports torch.
"""
