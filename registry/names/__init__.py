"""Names: which versions they have, which tags are on them, and how all of that changes."""
