"""Deepfake detection for batches of video frames; everything here but ``app.py`` runs without Ray."""

__version__ = "0.1.0"
