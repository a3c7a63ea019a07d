"""Each result as JSON and as lines; each view owns the name of its schema."""
