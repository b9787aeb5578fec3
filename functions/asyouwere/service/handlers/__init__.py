"""What each function does: one module per function or part of ``sessions``; functions.py lists all."""
