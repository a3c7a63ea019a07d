"""The benchmark: held-out subjects in held-out motions, every method on every pair."""
