"""The processes that are compared: `python -m tests.bench.peers.sides NAME`, JSON lines on stdin and stdout.

Nothing here may import asyouwere or anything of the bench outside this folder: most sides run in an environment
that has neither.
"""
