"""Photos and clips that guide a video while it is made: what it starts from, and what it follows."""
