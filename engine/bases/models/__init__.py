"""The families, one file each, and the parts that they are built of."""
