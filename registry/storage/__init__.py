"""Files and numbers: everything that touches the disk, where things lie, lines, hashes, TOML."""
