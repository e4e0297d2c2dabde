#!/bin/sh
# Installs the Debian packages that `build`, `demo` or `test` needs and that are missing.
#
#     scripts/bootstrap.sh build|demo|test
#
# Rules: what is there is never touched, and then nothing needs root; root is used for apt only (itself, or
# `sudo -n`); no service that a package brings is started; a package that cannot be had is named, and the exit
# status is 1.
set -u

missing=
PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin" # nginx, apache2 and ip live there; users' PATH lacks them

# need PACKAGE COMMAND...: the package is wanted where the command fails.
need() {
    package=$1
    shift
    "$@" >/dev/null 2>&1 || missing="$missing $package"
}
has() { command -v "$1"; }
has_file() { [ -e "$1" ]; }
compiles() { echo '#include <errno.h>' | cc -E -; }
python_works() { "$(dirname "$0")/python.sh"; }
has_browser() {
    has chromium-headless-shell || has chrome-headless-shell || has chromium || has google-chrome
}
has_go() { has go || has_file /usr/local/go/bin/go; }
has_cpython_tests() {
    "$("$(dirname "$0")/python.sh")" -c 'import test.test_socket' || /usr/bin/python3 -c 'import test.test_socket'
}

build() {
    need gcc has cc
    need libc6-dev compiles
    need pkg-config has pkg-config
    need clang has "${CLANG:-clang}" # compiles crates/inspect/bpf
    need python3-venv python_works
    need ca-certificates has_file /etc/ssl/certs/ca-certificates.crt
    has rustc >/dev/null || has_file "$HOME/.cargo/bin/rustc" || need curl has curl
}

demo() {
    build
    need nginx-light has nginx
    need wrk has wrk
}

# The servers and clients that tests/ put modules in front of.
test_() {
    demo
    need apache2 has apache2
    need libapache2-mod-php has_file /usr/lib/apache2/modules/libphp*.so
    need haproxy has haproxy
    need redis-server has redis-server
    need tcl has tclsh # its tests'
    need postgresql has_file /usr/lib/postgresql/*/bin/postgres
    need nodejs has node
    need default-jdk-headless has javac
    need curl has curl
    need golang-go has_go
    need chromium-headless-shell has_browser
    need g++ has c++
    need binutils has nm
    need valgrind has valgrind
    need iproute2 has ip
    need strace has strace
    need tmux has tmux
    need procps has ps
    # Debian names it after the version of its own Python.
    need "libpython$(/usr/bin/python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])' || echo 3)-testsuite" \
        has_cpython_tests
}

case ${1:-} in
build) build ;;
demo) demo ;;
test) test_ ;;
*)
    echo "usage: scripts/bootstrap.sh build|demo|test" >&2
    exit 2
    ;;
esac
[ -n "$missing" ] || exit 0

cannot() {
    echo "modnet: missing packages:$missing ($1); as root: apt-get install$missing" >&2
    exit 1
}

has apt-get >/dev/null || cannot "no apt-get here: install what your system calls them"
if [ "$(id -u)" -eq 0 ]; then
    sudo=
elif sudo -n true 2>/dev/null; then
    sudo='sudo -n'
else
    cannot "installing them needs root"
fi

echo "modnet: installing$missing" >&2
# A package that starts its server would take port 80 and stay behind: policy-rc.d forbids it while we install.
policy=${POLICY_RC_D:-/usr/sbin/policy-rc.d}
if [ ! -e "$policy" ]; then
    trap '$sudo rm -f "$policy"' EXIT
    trap 'exit 1' HUP INT TERM
    printf '#!/bin/sh\nexit 101\n' | $sudo tee "$policy" >/dev/null && $sudo chmod 755 "$policy"
fi
apt="$sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300"
$apt update >&2 || echo "modnet: apt-get update failed; trying with the lists that are here" >&2
# shellcheck disable=SC2086 # $missing is a list
if ! $apt install -y --no-install-recommends $missing >&2; then
    wanted=$missing
    missing=
    for package in $wanted; do # one package that cannot be had must not keep the others out
        $apt install -y --no-install-recommends "$package" >&2 || missing="$missing $package"
    done
    [ -z "$missing" ] || cannot "apt could not install them"
fi
