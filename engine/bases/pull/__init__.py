"""Fetching a base: which files are read, from the hub or a folder, every byte checked."""
