"""From a picture to the face crop of a profile."""
