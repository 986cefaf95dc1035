"""The open world: scores for unseen faces, operating points, and what follows from embeddings."""
