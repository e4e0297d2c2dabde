# Every command of the project. `make help` lists them.
#
# Rules: `build` installs what it needs (apt only where something is missing) and is all that the others stand on; a second
# run does nothing but compare dates. Libraries are replaced by rename, never written in place: they may be mapped.

SHELL := /bin/sh
.DELETE_ON_ERROR:
.PHONY: help build demo test check bench soak asan miri wheel clean deps

VENV := .venv
PY := $(VENV)/bin/python
CARGO := scripts/rust.sh cargo
TARGET := target
LIB := python/modnet/lib
# What a crate's library is made from; `find` keeps new files from being forgotten.
sources = $(shell find $(addprefix crates/,$(1)) -name '*.rs' -o -name '*.toml' -o -name '*.c') Cargo.toml Cargo.lock
ARGS ?=

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile | expand -t 16

# --- build ---------------------------------------------------------------------------------------------------

build: deps $(VENV)/.installed $(LIB)/libmodnet_shim.so $(LIB)/libmodnet.so $(LIB)/pkgconfig/modnet.pc python/modnet/_native.abi3.so ## shim, library, extension and .venv

deps:
	@scripts/bootstrap.sh build
	@scripts/rust.sh

$(VENV)/.requirements: scripts/requirements.txt | deps
	@test -x $(PY) && $(PY) -c '' 2>/dev/null || "$$(scripts/python.sh)" -m venv --clear $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check -r scripts/requirements.txt
	@touch $@

$(LIB)/libmodnet_shim.so: $(call sources,abi shim) | deps
	$(CARGO) build --profile shim -p modnet-shim
	@scripts/place.sh $(TARGET)/shim/libmodnet_shim.so $@

$(LIB)/libmodnet.so: $(call sources,abi engine ffi) | deps
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

python/modnet/_native.abi3.so: $(call sources,abi engine python) $(VENV)/.installed
	VIRTUAL_ENV=$(CURDIR)/$(VENV) $(CARGO:cargo=)$(CURDIR)/$(VENV)/bin/maturin develop --release --quiet --skip-install
	@touch $@
