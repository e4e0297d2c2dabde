# Every command of the project. `make help` lists them.
#
# Rules: `build` installs what it needs (apt only where something is missing) and is all that the others stand on; a second
# run does nothing but compare dates. Libraries are replaced by rename, never written in place: they may be mapped.

SHELL := /bin/sh
.DELETE_ON_ERROR:
.PHONY: help build built demo test check bench soak loom asan fuzz miri wheel clean deps

VENV := .venv
PY := $(VENV)/bin/python
CARGO := scripts/rust.sh cargo
TARGET := target
LIB := python/modnet/lib
# What a crate's library is made from; `find` keeps new files from being forgotten.
sources = $(shell find $(addprefix crates/,$(1)) -name '*.rs' -o -name '*.toml' -o -name '*.c' -o -name '*.h') crates/compile_bpf.rs crates/bpf.h Cargo.toml Cargo.lock
ARGS ?=

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile | expand -t 16

# --- build ---------------------------------------------------------------------------------------------------

# One at a time: two terminals that build at once would install into one .venv.
build: ## shim, C library, extension and .venv
	@mkdir -p $(TARGET)
	@flock $(TARGET)/.make-lock $(MAKE) --no-print-directory built

built: $(VENV)/.installed $(LIB)/libmodnet_shim.so $(LIB)/libmodnet.so $(LIB)/pkgconfig/modnet.pc \
		python/modnet/_native.abi3.so

deps:
	@scripts/bootstrap.sh build
	@scripts/rust.sh

$(VENV)/.requirements: scripts/requirements.txt | deps
	@test -x $(PY) && $(PY) -c '' 2>/dev/null || "$$(scripts/python.sh)" -m venv --clear $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check -r scripts/requirements.txt
	@touch $@

$(LIB)/libmodnet_shim.so: $(call sources,abi pool shim) | deps
	$(CARGO) build --profile shim -p modnet-shim
	@scripts/place.sh $(TARGET)/shim/libmodnet_shim.so $@

$(LIB)/libmodnet.so: $(call sources,abi pool inspect revoke engine ffi) | deps
	$(CARGO) build --release -p modnet-ffi
	@scripts/place.sh $(TARGET)/release/libmodnet.so $@

# The paper's calls for C: header and pkg-config file beside the library, so that a wheel carries them too.
$(LIB)/pkgconfig/modnet.pc: scripts/modnet.pc.in Cargo.toml $(wildcard include/modnet.h)
	@mkdir -p $(@D) python/modnet/include
	@sed "s/@VERSION@/$$(sed -n 's/^version *= *"\(.*\)"/\1/p' Cargo.toml)/" scripts/modnet.pc.in > $@
	@if [ -e include/modnet.h ]; then cp include/modnet.h python/modnet/include/; fi

# Editable install once: `modnet` and `python -m modnet` then run from the tree.
$(VENV)/.installed: pyproject.toml crates/python/Cargo.toml $(VENV)/.requirements
	VIRTUAL_ENV=$(CURDIR)/$(VENV) $(CARGO:cargo=)$(CURDIR)/$(VENV)/bin/maturin develop --release --quiet
	@touch $@ python/modnet/_native.abi3.so

python/modnet/_native.abi3.so: $(call sources,abi pool inspect revoke transform estimate engine python) $(VENV)/.installed
	VIRTUAL_ENV=$(CURDIR)/$(VENV) $(CARGO:cargo=)$(CURDIR)/$(VENV)/bin/maturin develop --release --quiet --skip-install
	@touch $@

# --- use -----------------------------------------------------------------------------------------------------

demo: build ## nginx natively, through the native forwarder, and through a Python module
	@scripts/bootstrap.sh demo
	@$(PY) examples/demo/demo.py $(ARGS)

wheel: build ## dist/*.whl, shim and C library inside
	VIRTUAL_ENV=$(CURDIR)/$(VENV) scripts/rust.sh $(VENV)/bin/maturin build --release --out dist

# --- tests ---------------------------------------------------------------------------------------------------

# Tests in Rust that need root are listed as ignored by everybody else's run.
ROOT_TOO = $(shell [ "$$(id -u)" != 0 ] || echo --include-ignored)

# The runner's summary comes last: whoever reads the end of the output knows how it went.
test: build ## unit tests of the crates, then tests/; ARGS goes to pytest
	@scripts/bootstrap.sh test
	$(CARGO) test -p modnet-abi -p modnet-pool -p modnet-inspect -p modnet-transform -p modnet-estimate -p modnet-engine
	$(CARGO) test -p modnet-revoke --features modnet-revoke/loader -- $(ROOT_TOO)
	$(CARGO) test -p modnet-shim --lib
	@$(MAKE) --no-print-directory loom
	$(PY) -m pytest $(ARGS)

check: build ## formatters, linters, types, stubs against the binary
	$(CARGO) fmt --all --check
	PYO3_PYTHON=$(CURDIR)/$(PY) $(CARGO) clippy --workspace --exclude modnet-shim --all-targets -- -D warnings
	$(CARGO) clippy --profile shim -p modnet-shim --lib -- -D warnings
	$(CARGO) clippy -p modnet-shim --lib --profile test -- -D warnings
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy --strict python/modnet
	MYPYPATH=python $(PY) -m mypy.stubtest modnet._native

bench: build ## Figure 3 in full (root: it makes two network namespaces); ARGS="--quick" for a minute's look
	@scripts/bootstrap.sh test
	$(PY) -m experiments.fig03 $(ARGS)

soak: build ## the long runs: integrity, load, thirty rounds of kill -9
	@scripts/bootstrap.sh test
	$(PY) -m pytest -m soak -v -s --durations=0 -o faulthandler_timeout=0 $(ARGS)

loom: ## client and module of a pool in every interleaving
	RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=$(TARGET)/loom $(CARGO) test --release -p modnet-pool --lib

asan: build ## unit tests under AddressSanitizer, shim and engine in real processes under valgrind
	@scripts/bootstrap.sh test
	scripts/nightly.sh asan
	$(PY) -m pytest tests/repo/test_memory.py $(ARGS)

fuzz: ## the framer under cargo-fuzz; ARGS="-max_total_time=60" goes to libFuzzer
	scripts/nightly.sh fuzz $(ARGS)

miri: ## the lock-free and unsafe parts that need no system call, under Miri
	scripts/nightly.sh miri

clean: ## everything that was built
	rm -rf $(TARGET) $(VENV) build dist $(LIB) python/modnet/include python/modnet/_native*.so
