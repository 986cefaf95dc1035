"""A finished run as one file for other programs: its graph, or its weights, with what a reader must know inside."""
