"""Pixels to files: videos, sheets and frames kept as they are, each whole or not at all.

Map:
    write     frames to mp4, gif, webp or png
    formats   what a video can be written as, known before anything heavy is imported
    comments  the text kept inside a video, and read back
    staging   files appear whole or not at all
    archive   frames kept in a file as they are
    sheets    labelled contact sheets of videos, and how a picture is written
    grid      sheets of videos that differ in their settings
    contact   contact sheets of what will be learned from
    layout    text and pictures on a sheet
"""
