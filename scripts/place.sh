#!/bin/sh
# Puts a built library in its place by rename: a running program may have the old one mapped.
set -eu
mkdir -p "$(dirname "$2")"
cp "$1" "$2.new"
mv -f "$2.new" "$2"
