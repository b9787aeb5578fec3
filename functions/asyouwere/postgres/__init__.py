"""What the functions and the Python client share: lines that are encrypted, calls over them, what errors mean."""
