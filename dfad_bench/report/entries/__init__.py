"""Entries of the leaderboards: records with their predictions, as others submit them."""
