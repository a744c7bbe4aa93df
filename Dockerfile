# Any image with npm and Node.js 26 builds it, any image with Node.js 26 and glibc runs it:
#   docker build --build-arg BUILD_BASE=... --build-arg BASE=... -t checkpoint-agent .
# A registry of packages other than npm's own: --secret id=npmrc,src=$HOME/.npmrc, and --secret id=npm-ca,src=... for its authority.
ARG BUILD_BASE=docker.io/library/node:24-bookworm-slim@sha256:0e0ff40c39bc087845bfb27465a0df4ea419520094bc35842ff83dd8cbe6f9b6
ARG BASE=gcr.io/distroless/nodejs24-debian12@sha256:b35a10df56aa17825e81e836ff70fe3c27002809dd94e6bfd655ed05bac52230

FROM ${BUILD_BASE} AS build
WORKDIR /build
COPY package.json package-lock.json .npmrc ./
RUN --mount=type=secret,id=npmrc,target=/root/.npmrc --mount=type=secret,id=npm-ca,target=/run/npm-ca.pem \
    npm ci --ignore-scripts --no-audit --no-fund
COPY tsconfig.json tsconfig.build.json LICENSE ./
COPY proto ./proto
COPY src ./src
RUN node --run build
COPY tools/image ./tools/image
RUN node tools/image/assemble.ts /app

FROM ${BASE}
LABEL org.opencontainers.image.title=checkpoint-agent \
      org.opencontainers.image.description="Takes checkpoints of the containers of a node, knows, keeps and hands out the archives" \
      org.opencontainers.image.licenses=Apache-2.0
# The first is where distroless keeps it.
ENV PATH=/nodejs/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    NODE_ENV=production
WORKDIR /app
# What it is made of: /app/sbom.cdx.json; every file of it: /app/contents.txt.
COPY --from=build /app /app
# Root, because the runtime's socket and the archives are root's. It needs no capability for that.
USER 0:0
ENTRYPOINT ["node", "/app/dist/main.js"]
