"""Getting weights and runs of others, and giving away runs and lists of faces."""
