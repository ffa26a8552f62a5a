"""Detectors: what turns features into scores."""
