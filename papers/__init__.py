"""The three papers: their published numbers, and the commands that reproduce each of them."""

PAPERS = ("ismir2018", "arxiv2017", "agf2018")
