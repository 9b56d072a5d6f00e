# btrfs-files.sh IMAGE: a btrfs of 128 MiB with one file.
set -e
truncate -s 128M "$1"
mkdir "$1.root"
printf 'old 0123456789\n' > "$1.root/config"
mkfs.btrfs -q -U 5a6f1c0e-3f0b-4c55-9d0c-7a3f2f0f6c04 --rootdir "$1.root" "$1"
rm -r "$1.root"
