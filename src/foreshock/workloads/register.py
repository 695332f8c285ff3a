"""The register workload: reads, writes and compare-and-sets over rotating keys, judged by linearizability.

The operations in the history (``key`` is an integer that is never used again once it was retired):

====== ============== ======================= ========================================================
f      value          result of ``ok``        ``fail`` (certainly no effect)
====== ============== ======================= ========================================================
read   ``None``       the value, or ``None``  the read was refused
                      when the key is absent
write  the value      ``None``                the write was refused
cas    ``[old, new]`` ``None``                the value was not ``old``, or the request was refused
====== ============== ======================= ========================================================

Written values are positive integers, distinct over the whole history, and ``None`` (absent) is the state of a
key before its first write, so they are never the initial value. ``old`` is never ``None``.
"""
