"""asyouwere: chat and agent sessions that pick up where they left off."""

__version__ = "0.1.0"

__all__ = ["__version__"]
