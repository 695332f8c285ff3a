#!/usr/bin/env python3
"""A node for Maelstrom, and so for ``--target maelstrom``: a key-value store that is kept by the first node.

foreshock test --target maelstrom -o bin=examples/maelstrom_node.py --workload register --nemesis partition,pause

Every node passes requests on to the first, which answers them one after the other: linearizable, and it serves nobody
who cannot reach that node. With ``-o args=--local`` each answers from a store of its own: that is what must be found.
With ``-o args=lin-kv`` they pass requests on to Maelstrom's service of that name, and with ``seq-kv`` to a weaker one.
"""

from __future__ import annotations

import json
import sys
from typing import Any

store: dict[str, Any] = {}
waiting: dict[int, dict[str, Any]] = {}
"""The requests that were passed on, by the number under which they were."""


def send(source: str, dest: str, body: dict[str, Any]) -> None:
    """Hand a message to the network, which is stdout."""
    sys.stdout.write(json.dumps({"src": source, "dest": dest, "body": body}) + "\n")
    sys.stdout.flush()


def carry_out(body: dict[str, Any]) -> dict[str, Any]:
    """Answer one request from the store."""
    kind, key = body["type"], str(body["key"])
    if kind == "write":
        store[key] = body["value"]
        return {"type": "write_ok"}
    if key not in store:
        return {"type": "error", "code": 20, "text": "there is no such key"}
    if kind == "read":
        return {"type": "read_ok", "value": store[key]}
    if store[key] != body["from"]:
        return {"type": "error", "code": 22, "text": f"the value is {store[key]}"}
    store[key] = body["to"]
    return {"type": "cas_ok"}


def main() -> None:
    """Serve until stdin ends."""
    own = store_at = ""
    passed_on = 0
    given = sys.argv[1] if len(sys.argv) > 1 else ""
    for line in sys.stdin:
        message = json.loads(line)
        body = message["body"]
        if body["type"] == "init":
            own = body["node_id"]
            store_at = {"": body["node_ids"][0], "--local": own}.get(given, given)
            send(own, message["src"], {"type": "init_ok", "in_reply_to": body["msg_id"]})
        elif "in_reply_to" in body:
            request = waiting.pop(body["in_reply_to"], None)
            if request is not None:
                send(own, request["src"], {**body, "in_reply_to": request["body"]["msg_id"]})
        elif own == store_at:
            send(own, message["src"], {**carry_out(body), "in_reply_to": body["msg_id"]})
        else:
            passed_on += 1
            waiting[passed_on] = message
            send(own, store_at, {**body, "msg_id": passed_on})


if __name__ == "__main__":
    main()
