# The last, thin layer of host, router and ZooKeeper images: a code edit rebuilds this alone. The copy comes last, so that the steps
# before it stay cached.
ARG BASE
FROM ${BASE}
CMD ["/opt/stormbed/stormd", "supervise", "--config", "/etc/stormbed/supervise.toml"]
COPY stormd /opt/stormbed/stormd
