# A container image of daybook:  docker build -t daybook .
# Built from the lock file. Runs as nobody, writes nothing, and needs its settings as environment variables or in a mounted
# file:  docker run --rm -e DAYBOOK_LEDGER_URL -e DAYBOOK_ELASTICSEARCH_URL daybook apply

FROM rust:1.95.0-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked --bin daybook

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/*
COPY --from=build /src/target/release/daybook /usr/local/bin/daybook
USER nobody:nogroup
ENTRYPOINT ["/usr/local/bin/daybook"]
CMD ["--help"]
