"""The figures of finished runs, one a file, and the page that holds them."""
