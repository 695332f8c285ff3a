"""The entry point of the proxy's process."""

from __future__ import annotations

from foreshock.harness.backends.link_proxy.server import main

if __name__ == "__main__":
    main()
