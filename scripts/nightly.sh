#!/bin/sh
# Runs the crates' unit tests under a tool that only nightly Rust has.
#
#     scripts/nightly.sh asan|miri|fuzz [libFuzzer's arguments]
#
# Its build lies in target/nightly, apart from the others. Where nightly or the tool cannot be had it ends in one
# line and status 1.
set -eu
cd "$(dirname "$0")/.."
[ -d "${CARGO_HOME:-$HOME/.cargo}/bin" ] && PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"
CARGO_TARGET_DIR=target/nightly
export CARGO_TARGET_DIR

stop() {
    echo "modnet: $1" >&2
    exit 1
}
cargo +nightly --version >/dev/null 2>&1 \
    || rustup toolchain install nightly --profile minimal >&2 || stop "nightly Rust cannot be had; see https://rustup.rs"
# A target named explicitly keeps the sanitizer out of build scripts and procedural macros.
host=$(rustc +nightly -vV | sed -n 's/^host: //p')

case ${1:-} in
asan)
    export RUSTFLAGS=-Zsanitizer=address
    # Leaks are looked for by valgrind, in processes that end: the test harness keeps threads.
    export ASAN_OPTIONS=detect_leaks=0
    cargo +nightly test --target "$host" -p modnet-abi -p modnet-pool -p modnet-inspect -p modnet-revoke -p modnet-transform -p modnet-estimate -p modnet-engine --lib --test processes
    cargo +nightly test --target "$host" -p modnet-shim --lib
    ;;
miri)
    cargo +nightly miri --version >/dev/null 2>&1 || rustup +nightly component add miri rust-src >&2 \
        || stop "Miri is not part of this nightly: rustup +nightly component add miri"
    cargo +nightly miri test -p modnet-abi --lib
    ;;
fuzz)
    shift
    cargo fuzz --version >/dev/null 2>&1 || cargo install --locked cargo-fuzz >&2 \
        || stop "cargo-fuzz cannot be had: cargo install cargo-fuzz"
    cargo run --quiet -p modnet-transform --example corpus seeds crates/transform/fuzz/corpus/http
    unset CARGO_TARGET_DIR
    cd crates/transform
    cargo +nightly fuzz run http fuzz/corpus/http -- -dict=fuzz/http.dict -max_len=4096 "$@"
    # What reaches something that nothing else reaches is kept, and read by `make test`.
    cargo +nightly fuzz cmin http fuzz/corpus/http
    CARGO_TARGET_DIR=../../target/nightly cargo run --quiet --example corpus keep fuzz/corpus/http
    ;;
*)
    stop "usage: scripts/nightly.sh asan|miri|fuzz"
    ;;
esac
