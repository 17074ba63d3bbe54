"""The ismir2018 networks, their weights, and the embeddings they compute."""
