# The image of nodes that are shown skewed clocks, where what was compiled elsewhere runs in theirs. If not, this fails.
ARG NODE
FROM ${NODE}
COPY clock_shim.so clock_reader /foreshock/clock/
RUN set -e; cd /foreshock/clock; \
    said=$(LD_PRELOAD=$PWD/clock_shim.so ./clock_reader 2>&1); \
    echo "$said" | grep -Eqx '([0-9]+ ){3}[0-9]+'
