#!/bin/sh
# A GPT disk of 64 MiB with three partitions up to 33 MiB and free space behind them, the same bytes every time. Each
# partition is full of lines that name it, so that a byte that goes elsewhere shows.
# Usage: gpt-disk.sh VOLUME [LENGTH]; a LENGTH such as 96M grows the file underneath its table.
set -eu
disk=$1/disk.img
truncate -s 64M "$disk"
sfdisk --quiet --no-reread "$disk" <<'TABLE'
label: gpt
label-id: 5A6F1C0E-3F0B-4C55-9D0C-7A3F2F0F6B01
first-lba: 34
start=2048, size=16384, name="boot", type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, uuid=5A6F1C0E-3F0B-4C55-9D0C-7A3F2F0F6B11
start=18432, size=16384, name="root", type=0FC63DAF-8483-4772-8E79-3D69D8477DE4, uuid=5A6F1C0E-3F0B-4C55-9D0C-7A3F2F0F6B12
start=34816, size=32768, name="data", type=0FC63DAF-8483-4772-8E79-3D69D8477DE4, uuid=5A6F1C0E-3F0B-4C55-9D0C-7A3F2F0F6B13
TABLE
fill() { # NAME START_MIB LENGTH_MIB
    yes "partition $1" | head -c "$3M" | dd of="$disk" bs=1M seek="$2" conv=notrunc status=none
}
fill boot 1 8
fill root 9 8
fill data 17 16
if [ $# -gt 1 ]; then
    truncate -s "$2" "$disk"
fi
