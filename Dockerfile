# syntax=docker/dockerfile:1
# The image of Meshward: Node, one file and its papers; no shell, no package manager, no node_modules.

# A release pins both images by digest (.github/workflows/release.yml); here they are named by tag, so that a build of the
# checkout gets the newest patches.
ARG BUILD_IMAGE=docker.io/library/node:24-bookworm-slim
ARG RUNTIME_IMAGE=gcr.io/distroless/nodejs24-debian12:nonroot

FROM ${BUILD_IMAGE} AS build
WORKDIR /source
COPY package.json package-lock.json .npmrc ./
COPY .ci/node-version.mjs .ci/
RUN npm ci --ignore-scripts
COPY tsconfig.json LICENSE ./
COPY policies policies
COPY src src
RUN npm run -s build

FROM ${RUNTIME_IMAGE}
ARG VERSION=unreleased
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Meshward" \
      org.opencontainers.image.description="An admission gate for Istio that evaluates what a change would do to the mesh before the API server stores it" \
      org.opencontainers.image.source="https://github.com/meshward/meshward" \
      org.opencontainers.image.documentation="https://github.com/meshward/meshward/blob/main/docs/install.md" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# Nobody in the container may write these: they belong to root, and it runs as somebody else.
COPY --from=build --chown=0:0 --chmod=0444 \
     /source/dist/meshward.js /source/dist/meshward.cdx.json /source/dist/THIRD-PARTY-NOTICES.txt /source/LICENSE /meshward/
# The user nonroot of the distroless images, by number, so that runAsNonRoot can be verified.
USER 65532:65532
EXPOSE 8443 8080
# Process 1 gets the signals of Kubernetes itself. No signal opens Node's debugger.
ENTRYPOINT ["/nodejs/bin/node", "--disable-sigusr1", "/meshward/meshward.js"]
CMD ["--help"]
