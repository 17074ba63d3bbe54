"""What the three papers say, and how each is made again: numbers, and commands in order."""
