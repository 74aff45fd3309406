# syntax=docker/dockerfile:1
# The server in an image: built in stages, run as an ordinary user on a root file system that may be read-only.
#
#   docker build --tag pilaster .
#
# What it writes: /var/lib/pilaster/store (snapshots, unless store.url is an object store) and /var/lib/pilaster/spill
# (queries that do not fit in memory; nothing there outlives the process). Mount a volume or a tmpfs at each.

ARG RUST_VERSION=1.95
ARG DEBIAN_RELEASE=bookworm

FROM rust:${RUST_VERSION}-${DEBIAN_RELEASE} AS chef
RUN cargo install cargo-chef --locked --version '^0.1'
WORKDIR /build

# What the dependencies are; this changes only when Cargo.toml or Cargo.lock does.
FROM chef AS planner
COPY . .
RUN cargo chef prepare --recipe-path recipe.json

# Dependencies first, in a layer of their own, so that a change in src/ does not compile them again.
FROM chef AS builder
COPY --from=planner /build/recipe.json recipe.json
RUN cargo chef cook --release --locked --bin pilaster --recipe-path recipe.json
COPY . .
RUN cargo build --release --locked --bin pilaster && strip --strip-debug target/release/pilaster

FROM debian:${DEBIAN_RELEASE}-slim
LABEL org.opencontainers.image.title="Pilaster" \
      org.opencontainers.image.description="A columnar sidecar for PostgreSQL: consistent Parquet snapshots, fast dashboard answers over HTTP" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --system --gid 10001 pilaster \
    && useradd --system --uid 10001 --gid pilaster --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin pilaster \
    && install --directory --owner=pilaster --group=pilaster --mode=0700 \
        /var/lib/pilaster /var/lib/pilaster/store /var/lib/pilaster/spill \
    && install --directory /etc/pilaster/queries
COPY --from=builder /build/target/release/pilaster /usr/local/bin/pilaster
COPY LICENSE /usr/share/doc/pilaster/LICENSE

ENV PILASTER__STORE__URL=/var/lib/pilaster/store \
    PILASTER__ENGINE__SPILL_FOLDER=/var/lib/pilaster/spill \
    PILASTER__QUERIES__FOLDER=/etc/pilaster/queries \
    PILASTER__TELEMETRY__FORMAT=json
USER 10001:10001
VOLUME ["/var/lib/pilaster/store", "/var/lib/pilaster/spill"]

# SIGTERM lets requests in flight finish, for server.shutdown_timeout; give the container a little longer than that.
STOPSIGNAL SIGTERM

# For Docker alone; elsewhere probe /livez and /readyz (docs/operating.md). The image has no curl, and bash can ask.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/8080 && printf 'GET /livez HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n' >&3 && head -n 1 <&3 | grep -q ' 200 '"]

# It listens on the loopback address of its own network, 127.0.0.1:8080: nobody is asked who they are yet, so whoever is to
# reach it from outside comes through a proxy in the same network namespace that asks. compose.yaml shows one.
ENTRYPOINT ["pilaster"]
CMD ["serve"]
