#!/bin/sh
# A root file system with a small /root, the same bytes every time with the same e2fsprogs.
# With a second argument, also a file of that name with other content.
# Usage: rootfs.sh VOLUME [OLDER]
# The caller's environment fixes the clock (E2FSPROGS_FAKE_TIME).
set -eu
image=$1/rootfs.ext4
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
truncate -s 16M "$image"
mke2fs -q -F -t ext4 -b 4096 -O '^has_journal' -E lazy_itable_init=0,hash_seed=5a6f1c0e-3f0b-4c55-9d0c-7a3f2f0f6c31 \
    -U 5a6f1c0e-3f0b-4c55-9d0c-7a3f2f0f6c32 "$image"
yes 'a line of a file that a work disk starts with' | head -c 300K > "$work/text"
truncate -s 2M "$work/hole"
printf 'behind the hole' | dd of="$work/hole" bs=1 seek=1500000 conv=notrunc status=none
cat > "$work/script" <<SCRIPT
write $work/text elsewhere
mkdir /root
sif /root mode 040700
mkdir /root/bin
write $work/text /root/bin/tool
sif /root/bin/tool mode 0104755
sif /root/bin/tool uid 1000
symlink /root/bin/link tool
write $work/hole /root/hole
SCRIPT
debugfs -w -f "$work/script" "$image" > "$work/said" 2>&1 || { cat "$work/said"; exit 1; }
# debugfs goes on after an error and exits with 0: more than its version, its echo and the usual is one.
if grep -v -e '^$' -e '^debugfs' -e '^Allocated inode: ' "$work/said"; then
    exit 1
fi
e2fsck -f -n "$image" > "$work/said" 2>&1 || { cat "$work/said"; exit 1; }
[ $# -lt 2 ] || yes 'what was there before' | head -c 50K > "$1/$2"
