"""Foreshock: a chaos-testing harness for distributed systems.

It deploys a cluster, drives a workload while nemeses break things, records the history, and proves
whether that history was linearizable. The vocabulary lives in :mod:`foreshock.harness`.
"""

__version__ = "0.1.0"
