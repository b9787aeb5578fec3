"""What each function does. One module per function or per part of ``sessions``; the tables are in functions.py."""
