#!/bin/sh
# A bare ext4 with blocks of 1 KiB, the same bytes every time with the same e2fsprogs. So much is filled at first and
# freed again, and of the files every second one, that data and inodes lie up to the last groups.
# Usage: ext4-image.sh VOLUME LENGTH FILES FILLER [MKE2FS_OPTION…]: LENGTH such as 64M; half of FILES (a number) are kept;
# FILLER in KiB.
# The caller's environment fixes the clocks (E2FSPROGS_FAKE_TIME, E2FSCK_TIME).
set -eu
volume=$1 length=$2 files=$3 filler=$4
shift 4
image=$volume/disk.img
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Stands in for the machine's own file, whose defaults differ.
cat > "$work/mke2fs.conf" <<'CONF'
[defaults]
 base_features = sparse_super,large_file,filetype,resize_inode,dir_index,ext_attr
 default_mntopts = acl,user_xattr
 enable_periodic_fsck = 0
 blocksize = 1024
 inode_size = 256
 inode_ratio = 16384
[fs_types]
 ext4 = {
  features = has_journal,extent,huge_file,flex_bg,metadata_csum,64bit,dir_nlink,extra_isize
 }
 fixture = {
  inode_ratio = 16384
 }
CONF
truncate -s "$length" "$image"
MKE2FS_CONFIG="$work/mke2fs.conf" mke2fs -q -F -t ext4 -T fixture -b 1024 -m 1 -E lazy_itable_init=0,hash_seed=5a6f1c0e-3f0b-4c55-9d0c-7a3f2f0f6b31 \
    -U 5a6f1c0e-3f0b-4c55-9d0c-7a3f2f0f6b32 -J size=1 "$@" "$image"
yes 'what is only there to be freed' | head -c "${filler}K" > "$work/filler"
yes 'a line of a file that has to be the same afterwards' | head -c 96K > "$work/text"
{
    echo "write $work/filler filler"
    echo 'mkdir /files'
    number=0
    while [ "$number" -lt "$files" ]; do
        # Lengths from 1 to 39 KiB, each from another place of the text.
        length=$((1024 * (1 + number * 7 % 39)))
        tail -c "+$((1 + number * 11))" "$work/text" | head -c "$length" > "$work/$number"
        echo "write $work/$number /files/file-$number"
        echo "sif /files/file-$number mode 0100640"
        echo "sif /files/file-$number uid $((1000 + number))"
        number=$((number + 1))
    done
    while [ "$number" -gt 0 ]; do
        number=$((number - 2))
        echo "rm /files/file-$number"
    done
    echo 'rm /filler'
} > "$work/script"
debugfs -w -f "$work/script" "$image" > "$work/said" 2>&1 || { cat "$work/said"; exit 1; }
# debugfs goes on after an error and exits with 0: more than its version, its echo and the usual is one.
if grep -v -e '^$' -e '^debugfs' -e '^Allocated inode: ' "$work/said"; then
    exit 1
fi
# resize2fs wants a check that is no older than the last write; 1 says that something was mended.
e2fsck -f -y "$image" > "$work/said" 2>&1 || [ $? -eq 1 ] || { cat "$work/said"; exit 1; }
e2fsck -f -n "$image" > "$work/said" 2>&1 || { cat "$work/said"; exit 1; }
