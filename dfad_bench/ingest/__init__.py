"""From a release on disk to a manifest: read, find the face, crop, commit, seal."""
