"""Parsing maps of real compared with forged faces (BMRL Figs. 2 and 7)."""
