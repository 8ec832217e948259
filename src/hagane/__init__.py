"""Hagane: a cloud in one process. Start reading at app.py."""

__version__ = "0.1.0"
