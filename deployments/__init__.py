"""Thin Ray Serve shells around ``serve_app``: anything with an ``if`` belongs there."""
