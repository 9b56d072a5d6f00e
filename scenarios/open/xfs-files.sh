# xfs-files.sh IMAGE: an xfs of 320 MiB (the least that mkfs.xfs makes is 300) with one file.
set -e
truncate -s 320M "$1"
printf 'old 0123456789\n' > "$1.config"
printf '/dev/null\n0 0\nd--755 0 0\nconfig ---644 0 0 %s\n$\n' "$1.config" > "$1.proto"
mkfs.xfs -q -m uuid=5a6f1c0e-3f0b-4c55-9d0c-7a3f2f0f6c03 -p "$1.proto" "$1"
rm "$1.config" "$1.proto"
