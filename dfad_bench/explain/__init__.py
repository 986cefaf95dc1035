"""Heat-maps of any model: which parts of a face its answer follows from."""
