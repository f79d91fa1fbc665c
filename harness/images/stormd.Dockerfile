# The last, thin layer of host and router images: a code edit rebuilds this alone.
ARG BASE
FROM ${BASE}
COPY stormd /opt/stormbed/stormd
CMD ["/opt/stormbed/stormd", "supervise", "--config", "/etc/stormbed/supervise.toml"]
