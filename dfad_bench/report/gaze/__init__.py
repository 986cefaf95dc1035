"""Tables of a gaze study."""
