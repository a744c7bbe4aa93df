# Any image with npm builds it, any image with glibc 2.34, libstdc++ and libgcc runs it. Node.js comes from the npm package that
# tools/node/package-lock.json pins, so neither base image has to carry it:
#   docker build --build-arg BUILD_BASE=... --build-arg BASE=... -t checkpoint-agent .
# A registry of packages other than npm's own: --secret id=npmrc,src=$HOME/.npmrc, and --secret id=npm-ca,src=... for its CA.
# By tag: pin both to a digest of your own choice where builds must be reproducible.
ARG BUILD_BASE=docker.io/library/node:26-slim
ARG BASE=gcr.io/distroless/cc-debian13

FROM ${BUILD_BASE} AS build
WORKDIR /build/tools/node
COPY tools/node/package.json tools/node/package-lock.json tools/node/.npmrc ./
RUN --mount=type=secret,id=npmrc,target=/root/.npmrc --mount=type=secret,id=npm-ca,target=/run/npm-ca.pem \
    npm ci --ignore-scripts --no-audit --no-fund && ln -s "$PWD"/node_modules/node-linux-* /pinned-node
# From here on npm runs under it, too.
ENV PATH=/pinned-node/bin:$PATH
WORKDIR /build
COPY package.json package-lock.json .npmrc ./
RUN --mount=type=secret,id=npmrc,target=/root/.npmrc --mount=type=secret,id=npm-ca,target=/run/npm-ca.pem \
    npm ci --ignore-scripts --no-audit --no-fund
COPY tsconfig.json tsconfig.build.json LICENSE ./
COPY proto ./proto
COPY src ./src
RUN node --run build
COPY tools/image ./tools/image
RUN node tools/image/assemble.ts /image

FROM ${BASE}
LABEL org.opencontainers.image.title=checkpoint-agent \
      org.opencontainers.image.description="Takes checkpoints of the containers of a node, knows, keeps and hands out the archives" \
      org.opencontainers.image.licenses=Apache-2.0
ENV PATH=/nodejs/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    NODE_ENV=production
WORKDIR /app
# What it is made of: /app/sbom.cdx.json; every file of it: /app/contents.txt.
COPY --from=build /image /
# Root, because the runtime's socket and the archives are root's. It needs no capability for that.
USER 0:0
ENTRYPOINT ["node", "/app/dist/main.js"]
