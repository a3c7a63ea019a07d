"""Measures of a video, one file each, and the towers that they use."""
