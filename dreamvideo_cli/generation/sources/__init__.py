"""Photos and clips that videos are made from: as flags name them, as recipes name them, and where they lie.

Map:
    settle       what flags and a recipe come to
    structure    the same of a clip whose layout is followed
    appearance   the same of a look that motions are told
    opened       the files' pixels
    known        where files lie that videos were made from before
"""
