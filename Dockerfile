# Two images:
#   docker build --target signaling -t switchboard:signaling .   the server alone, without GStreamer
#   docker build -t switchboard .                                server and media peers
#
# A container's address is another machine's, so the default command lets other machines in; put a
# certificate or a TLS proxy in front of it.

FROM rust:1.95-bookworm AS source
WORKDIR /src
COPY . .

FROM source AS build-signaling
RUN cargo build --locked --release --no-default-features --features server

FROM source AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends \
      libgstreamer1.0-dev libgstreamer-plugins-base1.0-dev libgstreamer-plugins-bad1.0-dev \
 && rm -rf /var/lib/apt/lists/*
RUN cargo build --locked --release

FROM debian:bookworm-slim AS base
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates libssl3 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --create-home --home-dir /var/lib/switchboard switchboard
ENV STATE_DIRECTORY=/var/lib/switchboard
WORKDIR /var/lib/switchboard
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s CMD \
  ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/8080 && printf 'GET /health HTTP/1.0\\r\\n\\r\\n' >&3 && grep -q '^OK' <&3"]
ENTRYPOINT ["switchboard"]
CMD ["serve", "--listen", "0.0.0.0:8080", "--insecure"]

FROM base AS signaling
COPY --from=build-signaling /src/target/release/switchboard /usr/local/bin/
USER switchboard

FROM base AS full
RUN apt-get update \
 && apt-get install -y --no-install-recommends \
      gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly \
      gstreamer1.0-nice gstreamer1.0-libav \
 && rm -rf /var/lib/apt/lists/*
COPY --from=build /src/target/release/switchboard /usr/local/bin/
COPY pipelines /usr/share/switchboard/pipelines
USER switchboard
