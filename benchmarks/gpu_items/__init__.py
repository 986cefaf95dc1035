"""What `gpu_acceptance.py` measures: a file an area, each with kinds of items; `plan.py` puts them in order."""
