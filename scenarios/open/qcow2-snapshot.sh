#!/bin/sh
# Holds where the snapshot exists and reads as the guest's disk did before the phase.
# Usage: qcow2-snapshot.sh IMAGE START_IMAGE SCRATCH
set -eu
qemu-img convert -q -l snapshot.name=before -f qcow2 -O raw "$1" "$3/snapshot.raw"
qemu-img compare -q -f raw -F qcow2 "$3/snapshot.raw" "$2"
