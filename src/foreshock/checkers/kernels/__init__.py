"""Compiled loops: the only modules that import numba, and that only when a history is large enough to pay for it.

Every kernel works on plain arrays and means the same when it is run as plain Python (its ``py_func``), where tests
and mutation can see into it. Compiled code is cached on disk: it is compiled once for each installation.
"""
