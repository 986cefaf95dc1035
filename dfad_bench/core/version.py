"""The version of the toolkit, in a file of its own so that rooms need not import the package that lists them."""

__version__ = "0.1.0"
