"""asyouwere: chat and agent sessions that pick up where they left off."""

from asyouwere.version import __version__

__all__ = ["__version__"]
