"""Shards of a build over processes of this host or of a Ray cluster."""
