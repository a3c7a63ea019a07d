"""What a version consists of: its manifest, its record and its files."""
