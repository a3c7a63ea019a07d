"""Bytes to pixels and back, nothing silent: no photo or frame is replaced, dropped or invented.

Map:
    photos/   photos of a subject, with masks, as the engine learns from them
    clips/    frames of a clip taken by time
    pictures  one picture file to pixels; `signatures` names files by content, `colours` makes sRGB
    output/   frames to videos, sheets and pictures, whole or not at all
    files     files before they are opened: there, readable, told by name and content
    ffmpeg    the one way in which ffmpeg is run; `boxes` reads an mp4 without it
    pixels    the types of arrays; `placement` sizes, and where the frame of a base lies in a picture

Pixels are uint8 sRGB, channels last. Nothing here imports torch.
"""
