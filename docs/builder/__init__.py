"""The builder of the documentation site: `python -m docs.builder`, or `make docs`."""
