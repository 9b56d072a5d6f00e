#!/bin/sh
# Whether a file is not there, or what it was at the start, or the finished one.
# Usage: old-or-new.sh FILE START BASELINE
set -eu
[ -e "$1" ] || exit 0
cmp -s "$1" "$2" || cmp -s "$1" "$3"
