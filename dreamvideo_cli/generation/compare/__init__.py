"""Videos beside each other: grids, and the search for the best weights."""
