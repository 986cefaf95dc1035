"""Boards as a folder of static pages: tables, figures drawn at render time, and files to download beside them."""
