"""From an image to the face crop that a crop profile describes."""
