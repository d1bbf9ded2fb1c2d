# syntax=docker/dockerfile:1

FROM node:22-bookworm-slim AS web
WORKDIR /build/web
COPY web/package.json web/package-lock.json web/.npmrc ./
RUN npm ci --no-audit --no-fund
COPY web ./
RUN npm run build

FROM rust:1.95-bookworm AS binary
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
COPY bench bench
COPY domain domain
COPY entity entity
COPY migration migration
COPY model model
COPY sandbox sandbox
COPY soak soak
COPY src src
COPY --from=web /build/web/dist web/dist
# Cargo wants the file of every target that it knows of, also of those that it does not build.
RUN mkdir -p tests/it && echo 'fn main() {}' > tests/it/main.rs
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --release --locked --bin payonce && cp target/release/payonce /payonce

FROM debian:bookworm-slim
# CA certificates: gateways are called by TLS. curl: the health check.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates curl \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --create-home --home-dir /data payonce
COPY --from=binary /payonce /usr/local/bin/payonce
USER payonce
# SQLite's file and the sandbox's keys, where they are used.
WORKDIR /data
VOLUME /data
ENV PAYONCE_LISTEN=0.0.0.0:8080
# 8080: public. 8081: admin, in production. 8090: the sandbox and its cashier, in dev.
EXPOSE 8080 8081 8090
# Readiness is on the admin listener, which in dev is the public one. In production it listens on
# 127.0.0.1 unless told otherwise.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
    CMD curl -fsS http://127.0.0.1:8081/readyz || curl -fsS http://127.0.0.1:8080/readyz
ENTRYPOINT ["payonce"]
CMD ["serve"]
