"""Fuzz targets: one module for each parser, and one for whole frames.  See fuzz/run.py, which runs them."""
