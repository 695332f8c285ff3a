"""The link proxy: a process of its own that carries every link between nodes on one machine.

``python -m foreshock.harness.backends.link_proxy`` reads JSON lines on stdin and answers on stdout::

    {"links": [{"sender": "n1", "receiver": "n2", "target": ["127.0.0.1", 7001]}, ...]}
                                                    -> {"control": port, "links": [[tcp, udp], ...], "further": []}
    {"id": 1, "cut": [["n1", "n2"], ...]}           -> {"id": 1}
    {"id": 2, "shape": [["n1", "n2", {"delay_us": 1000}], ...]}
                                                    -> {"id": 2}
    {"id": 3, "reset": [["n1", "n2"], ...]}         -> {"id": 3, "reset": [[port, ...], ...], "left": []}

A link is a directed pair: ``sender`` opens connections to the link's TCP port, and what it writes reaches
``receiver``. A connection carries bytes both ways, so its two halves belong to the two directions. A cut *stalls*
the bytes of one direction and breaks nothing, as dropped packets do: connections stay, new ones are accepted and
held, and an end of stream waits like the bytes before it. All of it arrives when the cut is healed.

A shape delays the bytes of one direction, and never lets later ones overtake earlier ones. A packet that it loses
costs a stream the time until it would have been sent again; a shape that loses all of them stalls like a cut. Where
there are both, the cut wins. A reset breaks the connections that were opened over a link, at both ends; the answer
says by which ports of the sender they were known, and which of them are still there.

Each link also has a UDP port, which sends datagrams back as if they had crossed the link, so that cuts and shapes can
be verified: see :mod:`foreshock.harness.backends.link_proxy.relay`. The control port sends all of them back.

Nodes with further ports have more links, with the same rules, under ``further``: each also says ``at`` which loopback
address, where it is to have the port number of its target, and the answer where it is: ``[[host, port], ...]``.

Everything is bounded: a direction that stalls or holds much back is not read (TCP pushes back on the writer), and a
link holds at most 64 connections. The proxy ends when stdin does, so that none outlives its harness.
"""
