"""Rehearsals (``--dry-run``): what a test would run, where and when, without touching anything.

The backend's own code and the nemeses' own code run as in a test, in a time of their own that costs nothing. Below them
are hosts and engines that only write down what they are told, and beside them observations that say what is expected.
So the commands are those of the test; what depends on an answer (a pid, an address, who leads) is assumed.
"""
