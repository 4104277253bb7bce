# The image: the single executable on a small base, as a user without rights, on a root file system that may be read-only.
#   docker build --tag virtlens .
#   docker run --read-only --cap-drop=ALL -p 9177:9177 -v /run/libvirt:/run/libvirt:ro virtlens
# Other bases: --build-arg BASE=registry.example/debian:bookworm-slim (of Debian 12 or newer), and BUILD_BASE with Node.js 26 and npm.
ARG BUILD_BASE=docker.io/library/node:26.10.0-bookworm-slim
ARG BASE=docker.io/library/debian:bookworm-slim

FROM ${BUILD_BASE} AS build
RUN apt-get update && apt-get install -y --no-install-recommends binutils && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY package.json package-lock.json .npmrc ./
RUN npm ci --no-audit
COPY . .
RUN npm run build:binary

# systemd has journalctl, with which `virtlens logs` reads the journal. Its installation makes an id of a machine; this image is none.
FROM ${BASE}
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates libatomic1 libstdc++6 systemd \
  && rm -rf /var/lib/apt/lists/* && : > /etc/machine-id
COPY --from=build /build/dist/virtlens /usr/bin/virtlens
COPY LICENSE /usr/share/doc/virtlens/LICENSE
# What a process started once has of the settings in docs/install.md.
ENV MALLOC_ARENA_MAX=1 MALLOC_TRIM_THRESHOLD_=131072
USER 65534:65534
# serve, ha and logs.
EXPOSE 9177 9178 9179
# There is no curl in the image, and bash can speak HTTP by itself.
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s \
  CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/${VIRTLENS_PORT:-9177} && printf 'GET /-/healthy HTTP/1.0\\r\\n\\r\\n' >&3 && read -r line <&3 && [[ $line == *' 200 '* ]]"]
ENTRYPOINT ["/usr/bin/virtlens"]
