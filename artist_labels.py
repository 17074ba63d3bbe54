"""The functions for other programs: `from artist_labels import embed, embed_files, similar`."""

from evaluation.neighbours import similar
from models.embeddings import embed, embed_files

__all__ = ["embed", "embed_files", "similar"]
