"""Scores of videos: numbers with definitions, each beside what it can reach at best and at worst."""
