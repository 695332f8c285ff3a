"""The lock workload: acquire, use a guarded resource, renew, release; judged in three ways.

The operations in the history (``key`` names the lock, an integer):

======= ====================================== ================================== ===============================
f       value                                  result of ``ok``                   ``fail``
======= ====================================== ================================== ===============================
acquire ``wait_ms`` (0: try only)              ``{"token": int or None,           it was not granted
                                               "ttl_ms": int or None}``
renew   ``token`` (may be ``None``)            as of acquire                      it is no longer held
release ``token`` (may be ``None``)            ``None``                           this client did not hold it
use     ``{"token": int or None,               ``{"seen": n, "wrote": n + 1}``    refused by the resource (an old
        "until_ns": int or None}``                                                token) or by the client itself
                                                                                  (its belief ran out); nothing
                                                                                  was written
======= ====================================== ================================== ===============================

``use`` is performed by the harness on its own resource, one counter a key that starts at 0: read it (``seen``), wait
a moment, write ``seen + 1`` (``wrote``). Two ok uses of a key with the same ``seen`` are a lost update. A process
*believes* that it holds the lock from the return of an ok acquire until the earliest of: the call of its release;
the call of its last acknowledged acquire or renew plus ``ttl_ms`` by the client's own clock (never, when ``ttl_ms``
is ``None``); the return of a renew that failed. ``until_ns`` is that expiry, in ns since the start of the test. A
process holds at most one lock at a time, uses it only while it believes, and tries to release it even when its
belief has run out.
"""
