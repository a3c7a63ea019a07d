"""Other tools' files: words and low-rank layers in and out, DreamVideo's own files in.

A format is one file here and one line in the table of `readers`, `spellings` or `writing`. What is read becomes an
ordinary adapter.
"""
