"""The `taskodec` command: one module a command, and what they share.

Heavy packages are imported inside functions, so that `--help` and mistakes answer at once.
"""
