"""Videos and grids: requested, planned, sampled, written."""
