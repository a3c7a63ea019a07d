"""Stdout, stderr, progress, errors, signals and processes."""
