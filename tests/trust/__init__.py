"""Runs that show what is promised: each a command with a short form, which the tests run, and a long one.

python -m tests.trust crash            seconds to a minute, as in `make test`
python -m tests.trust crash --long     as long as the figures of the claim need
"""
