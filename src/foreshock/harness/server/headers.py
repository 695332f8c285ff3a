"""Who may ask, and the headers of every answer.

There are no accounts and no tokens: who reaches the port may read the store. So that no page on the web can do that
through the browser of whoever runs the server, the name by which it was asked must be one of its own (an attacker's
name that resolves to this machine is not), and what other sites embed or fetch is refused.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping
from typing import Final

from foreshock.harness.server.store_files import RequestError

LOOPBACK_NAMES: Final = frozenset({"localhost", "localhost.localdomain", "ip6-localhost"})

EVERYWHERE: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-cache",
    "Server": "foreshock",
}
_COMMON: Final = "default-src 'none'; base-uri 'none'; frame-ancestors 'none'"
FILE_POLICY: Final = f"{_COMMON}; form-action 'none'; sandbox"
"""Of what is shown as it is: nothing in it may do anything."""
PAGE_POLICY: Final = (
    f"{_COMMON}; form-action 'self'; connect-src 'self'; img-src data:; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'"
)
"""Of the server's own pages, each of which names in itself the digest of the one script that may run in it."""
REPORT_POLICY: Final = (
    f"{_COMMON}; form-action 'none'; img-src data: blob:; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; worker-src blob:; "
    "sandbox allow-scripts allow-popups allow-popups-to-escape-sandbox allow-downloads allow-modals"
)
"""Of reports, which lie in the store as files and may come from anywhere. They are opened as from disk: in an origin
of their own, from which neither the server nor the network can be asked for anything."""


def check_host(host: str | None, bound_to: str, names: Collection[str]) -> None:
    """Whether the name that a request was sent to is one of ours; raises :class:`RequestError` when it is not."""
    if host is None:
        raise RequestError(400, "the request does not say which host it is for")
    name = _name_of(host)
    if name in LOOPBACK_NAMES or name.endswith(".localhost") or name in names:
        return
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        raise RequestError(
            421, "this server does not go by that name: ask it by its address, or start it with --host NAME"
        ) from None
    # An address is no name that somebody else could point here.
    if not address.is_loopback and is_loopback(bound_to):
        raise RequestError(421, "this server is asked by an address that it does not listen on")


def _name_of(host: str) -> str:
    """The name or address of a Host header, without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].rstrip(".").lower()


def is_loopback(host: str) -> bool:
    """Whether a host is this machine as only it itself can reach it."""
    if host.lower().rstrip(".") in LOOPBACK_NAMES:
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_origin(headers: Mapping[str, str]) -> None:
    """Refuse what a page of another site embeds or fetches; following a link from it is allowed."""
    site, mode = headers.get("Sec-Fetch-Site", "none"), headers.get("Sec-Fetch-Mode", "navigate")
    if site in ("cross-site", "same-site") and mode != "navigate":
        raise RequestError(403, "another site asked for this, and that is not allowed")
