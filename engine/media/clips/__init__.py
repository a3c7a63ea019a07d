"""Clips: frames taken by time from videos, animations and folders of pictures.

Map:
    reader         `read_clip`, what it gives, and frames scaled to a base's size
    video          video files, decoded by ffmpeg
    packets        their streams and packets, listed without decoding
    showinfo       what ffmpeg says of each decoded frame
    treatment      turns, fields, alpha and HDR
    animations     animated gif and webp
    frame_folders  folders of frames
    scan           what is known of a clip before its frames are taken
    frame_times    which frames are nearest to even steps of time
    scene_changes  cuts, dissolves, bars, stillness, flat frames
    clip_errors    clips that cannot be used, each with what would do
"""
