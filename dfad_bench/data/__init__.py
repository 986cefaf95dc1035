"""Manifests, and from them the batches of a model: selection by protocol, crops, side tables, audit, corruptions."""
