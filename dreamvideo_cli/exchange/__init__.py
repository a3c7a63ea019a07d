"""Adapters that come from other tools."""
