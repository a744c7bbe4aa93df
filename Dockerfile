# syntax=docker/dockerfile:1
# Any image with npm and Node.js 24 builds it, any image with Node.js 24 and glibc runs it:
#   docker build --build-arg BUILD_BASE=... --build-arg BASE=... -t checkpoint-agent .
ARG BUILD_BASE=docker.io/library/node:24-bookworm-slim
ARG BASE=gcr.io/distroless/nodejs24-debian12

FROM ${BUILD_BASE} AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --ignore-scripts
COPY tsconfig.json tsconfig.build.json ./
COPY src ./src
RUN node --run build
RUN npm prune --omit=dev --ignore-scripts && rm -rf node_modules/.cache

FROM ${BASE}
# The first is where distroless keeps it.
ENV PATH=/nodejs/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    NODE_ENV=production
WORKDIR /app
COPY --from=build /app/package.json ./
COPY --from=build /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
COPY proto ./proto
COPY LICENSE ./
# Root, because the runtime's socket and the archives are root's. It needs no capability for that.
USER 0:0
ENTRYPOINT ["node", "/app/dist/main.js"]
