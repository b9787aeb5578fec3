"""What each function does: one module per function or part of ``sessions``; routes/ names their addresses."""
