#!/bin/sh
# Runs a command (cargo …) with a Rust toolchain that is new enough, fetching one by rustup where there is none.
#
# Rules: the version needed is read from Cargo.toml, never repeated; what is fetched is announced on stderr; what
# cannot be had ends in one line. Without arguments it only makes sure of the toolchain.
set -u
cd "$(dirname "$0")/.." || exit 1

need=$(sed -n 's/^rust-version *= *"\(.*\)"/\1/p' Cargo.toml)
[ -d "${CARGO_HOME:-$HOME/.cargo}/bin" ] && PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"

# Is the first `rustc` on PATH, with a cargo beside it, at least $need?
new_enough() {
    have=$(rustc --version 2>/dev/null | cut -d ' ' -f 2) && [ -n "$have" ] && cargo --version >/dev/null 2>&1 || return 1
    [ "$(printf '%s\n%s\n' "$need" "${have%%-*}" | sort -V | head -n 1)" = "$need" ]
}

stop() {
    echo "modnet: Rust $need or newer is needed and $1; see https://rustup.rs" >&2
    exit 1
}

if ! new_enough; then
    PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
fi
if ! new_enough; then
    if command -v rustup >/dev/null; then
        echo "modnet: Rust ${have:-(none)} is older than $need: fetching the stable toolchain with rustup" >&2
        rustup toolchain install stable --profile minimal --component clippy,rustfmt >&2 \
            || stop "rustup could not fetch it"
        RUSTUP_TOOLCHAIN=stable
        export RUSTUP_TOOLCHAIN
    else
        command -v curl >/dev/null || stop "there is neither rustup nor curl to fetch it with"
        echo "modnet: no Rust of $need or newer here: fetching rustup and the stable toolchain into ~/.cargo" >&2
        installer=$(mktemp) || exit 1
        curl --proto '=https' --tlsv1.2 -sSf --max-time 60 -o "$installer" https://sh.rustup.rs \
            && sh "$installer" -y --quiet --no-modify-path --profile minimal --component clippy,rustfmt >&2
        got=$?
        rm -f "$installer"
        [ $got -eq 0 ] || stop "rustup could not be fetched"
    fi
    new_enough || stop "what rustup fetched (${have:-nothing}) is not"
fi
[ $# -eq 0 ] || exec "$@"
