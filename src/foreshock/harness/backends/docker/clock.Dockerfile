# The image of nodes that are shown skewed clocks: a node's image, and what was compiled on a plain one.
ARG PLAIN
ARG NODE
FROM ${PLAIN} AS compiled
ENV DEBIAN_FRONTEND=noninteractive
RUN set -e; \
    apt-get update; \
    apt-get install -y --no-install-recommends gcc libc6-dev; \
    rm -rf /var/lib/apt/lists/*
COPY clock_shim.c clock_reader.c /clock/
ARG COMPILE
RUN eval "$COMPILE"
FROM ${NODE}
COPY --from=compiled /clock/ /foreshock/clock/
