"""The cache workload: reads, writes and deletes through a cache over an origin, judged by linearizability.

The operations in the history (``key`` is an integer that is never used again once it was retired):

====== ========= =============================================== =========================
f      value     result of ``ok``                                ``fail``
====== ========= =============================================== =========================
get    ``None``  the value, or ``None`` when the key is absent   the read was refused
put    the value ``None``                                        certainly did not happen
delete ``None``  ``None``                                        certainly did not happen
====== ========= =============================================== =========================

As a register: ``get`` reads, ``put`` writes its value, ``delete`` writes ``None`` (absence), which is also the state
of a key before its first put. Put values are positive integers, distinct over the whole history and growing in the
order of invocation, so that a value is its own version.
"""
