"""Faults written once on the ``Host`` port, for every backend whose nodes live on hosts: pods, machines, this one."""
