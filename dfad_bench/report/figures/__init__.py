"""One figure a file; matplotlib is imported when one is drawn."""
