# Two images:
#   docker build --target signaling -t switchboard:signaling .   the server alone, without GStreamer
#   docker build -t switchboard .                                server, media peers and probe
# ./dev image-check runs the very steps of both where there is no container engine, and tries the results.
#
# A container's address is another machine's, so the configuration inside lets other machines in, without
# encryption or tokens: publish it on this machine only (-p 127.0.0.1:8080:8080), or mount a configuration of
# your own at /etc/switchboard.

FROM rust:1.95-bookworm AS source
# release, or dev for a quick try.
ARG PROFILE=release
ENV CARGO_TERM_COLOR=never
WORKDIR /src

FROM source AS build-signaling
COPY . .
# What is compiled stays in a cache of the builder, so that a change compiles this package only.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,id=switchboard-target,target=/src/target \
    cargo install --locked --no-track --path . --root /out --profile "$PROFILE" \
      --no-default-features --features server \
 && strip --strip-debug /out/bin/switchboard

FROM source AS build
# Before the sources: they change more often than what is needed to compile them.
RUN apt-get update \
 && apt-get install -y --no-install-recommends \
      libgstreamer1.0-dev libgstreamer-plugins-base1.0-dev libgstreamer-plugins-bad1.0-dev \
 && rm -rf /var/lib/apt/lists/*
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,id=switchboard-target,target=/src/target \
    cargo install --locked --no-track --path . --root /out --profile "$PROFILE" \
 && strip --strip-debug /out/bin/switchboard

FROM debian:bookworm-slim AS base
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates libssl3 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --user-group --create-home --home-dir /var/lib/switchboard switchboard
COPY packaging/container.toml /etc/switchboard/switchboard.toml
# The configuration is found by the server and by its health check.
ENV SWITCHBOARD_CONFIG=/etc/switchboard/switchboard.toml STATE_DIRECTORY=/var/lib/switchboard HOME=/var/lib/switchboard
WORKDIR /var/lib/switchboard
# Self-signed certificates are kept here. What the server only reads belongs into /etc/switchboard.
VOLUME ["/var/lib/switchboard"]
EXPOSE 8080/tcp 50000/udp 50001/udp
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s --retries=3 CMD ["switchboard", "health"]
ENTRYPOINT ["switchboard"]
CMD ["serve"]
LABEL org.opencontainers.image.title="Switchboard" \
      org.opencontainers.image.description="WebRTC signaling for four existing dialects, and headless media peers on GStreamer" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.base.name="docker.io/library/debian:bookworm-slim"

FROM base AS signaling
COPY --from=build-signaling /out/bin/switchboard /usr/local/bin/switchboard
# By number, so that an orchestrator can see that it isn't root.
USER 10001:10001

FROM base AS full
RUN apt-get update \
 && apt-get install -y --no-install-recommends \
      gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly \
      gstreamer1.0-nice gstreamer1.0-libav \
 && rm -rf /var/lib/apt/lists/*
COPY pipelines /usr/share/switchboard/pipelines
COPY --from=build /out/bin/switchboard /usr/local/bin/switchboard
USER 10001:10001
