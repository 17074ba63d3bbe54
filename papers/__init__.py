"""The three papers: their published numbers, and the commands that reproduce each of them."""
