"""Runs the shards of a build in processes of this host or of a Ray cluster."""
