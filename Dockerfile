# The image: `docker build -t gantry .` is the program with a shell and certificates.
# `docker build -t gantry --target bare .` is the program alone, which reads CREDENTIALS_URL itself.

FROM rust:1.95-slim-bookworm AS build
WORKDIR /gantry
COPY . .
# Statically linked, so that any image will do, and none.
RUN target="$(rustc -vV | sed -n 's/^host: //p')" \
    && RUSTFLAGS='-C target-feature=+crt-static' CARGO_PROFILE_RELEASE_STRIP=symbols \
       cargo build --release --locked --package gantry --target "$target" \
    && mkdir -p /image/usr/local/bin /image/var/lib/gantry \
    && cp "target/$target/release/gantry" /image/usr/local/bin/
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates

FROM scratch AS bare
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build --chown=65534:65534 /image/ /
# The sandbox belongs to the user of the Mesos task, so the log files go elsewhere; the log is on
# standard error too, which Mesos keeps in the sandbox.
ENV LOG_DIR=/var/lib/gantry/logs SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
WORKDIR /var/lib/gantry
USER 65534:65534
ENTRYPOINT ["/usr/local/bin/gantry"]

FROM alpine:3.22 AS gantry
RUN apk add --no-cache ca-certificates
COPY --from=build --chown=65534:65534 /image/ /
COPY get_creds.sh /usr/local/bin/
ENV LOG_DIR=/var/lib/gantry/logs
WORKDIR /var/lib/gantry
USER 65534:65534
CMD ["sh", "/usr/local/bin/get_creds.sh"]
