"""Extractors: what turns a frame into an OpenFace CSV."""
