"""From files on disk to faces a model can read: sources, cropping, manifests, selection, views."""
