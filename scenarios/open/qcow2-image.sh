#!/bin/sh
# A qcow2 of 64 MiB with 4 MiB of guest data, spread so that several L2 tables are in use.
# Usage: qcow2-image.sh VOLUME
set -eu
image=$1/disk.qcow2
qemu-img create -q -f qcow2 -o cluster_size=4k,refcount_bits=16,lazy_refcounts=off "$image" 64M
set --
at=0
while [ "$at" -lt 64 ]; do
    set -- "$@" -c "write -q -P $((at + 1)) ${at}M 256k"
    at=$((at + 4))
done
qemu-io -f qcow2 "$@" "$image"
qemu-img check -q "$image"
