#!/bin/sh
# Starts Gantry with the variables that the shell file at CREDENTIALS_URL sets: `export NAME=value`
# lines, or anything else that a shell understands. Without CREDENTIALS_URL it just starts Gantry.
#
# What goes wrong stops the start: a Gantry without its credentials might run without login. The
# file is never written to a disk. Where there is no shell, Gantry itself reads simple files.
set -u
# Standard error, also while that is turned away.
exec 3>&2

fail() {
    echo "get_creds.sh: $*; nothing is started" >&3
    exit 1
}

fetch() {
    case $1 in
        http://* | https://*) scheme=${1%%:*} ;;
        file:///*) cat -- "${1#file://}" && return ;;
        *) fail "CREDENTIALS_URL is no address of http, https or file" ;;
    esac
    if command -v curl >/dev/null; then
        curl --fail --silent --show-error --location --proto "=$scheme" --max-redirs 5 \
            --max-time 30 --max-filesize 65536 -- "$1"
    elif command -v wget >/dev/null; then
        # Some only limit how long they wait for the next byte.
        if command -v timeout >/dev/null; then
            timeout 30 wget -q -T 10 -t 1 -O - -- "$1"
        else
            wget -q -T 10 -t 1 -O - -- "$1"
        fi
    else
        fail "there is neither curl nor wget to fetch CREDENTIALS_URL with"
    fi
}

if [ -n "${CREDENTIALS_URL:-}" ]; then
    # A download that ends early has another status than 0, and nothing of it is executed.
    credentials=$(fetch "$CREDENTIALS_URL") || fail "the credentials cannot be had"
    [ -n "$credentials" ] || fail "the credentials are empty"
    # A command in it that fails ends this shell. What a shell says about it may quote a secret.
    trap 'fail "the credentials are not a shell file that ends well"' EXIT
    set +u -ea
    eval "$credentials" 2>/dev/null
    set -u +ea
    trap - EXIT
    unset credentials CREDENTIALS_URL
fi

exec gantry "$@" 3>&-
