"""The networks of ismir2018, their weights, and the embeddings that they compute."""
