"""Tables of a parsing study."""
