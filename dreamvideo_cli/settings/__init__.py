"""Flags before DV_* variables, dv.toml, the user's file and the defaults."""
