# Between the parts of a master's or host's image and stormd: an Apache Mesos from another image, with its libraries.
ARG BASE
ARG MESOS
FROM ${MESOS} AS mesos
FROM ${BASE}
ARG PACKAGES
RUN apt-get update \
 && apt-get install -y --no-install-recommends ${PACKAGES} \
 && rm -rf /var/lib/apt/lists/*
ARG PREFIX
COPY --from=mesos ${PREFIX} ${PREFIX}
RUN PATH="${PREFIX}/sbin:${PREFIX}/bin:${PATH}" \
 && for program in mesos-master mesos-agent; do \
      command -v "$program" || { echo "no $program under ${PREFIX} of the image; set [mesos] prefix" >&2; exit 1; }; \
    done
