# gc-chains.sh HOME ORPHANS: so many orphans are left, and qemu-img reads every overlay to its end.
left=$(find "$1/images/disk-images" -name 'orphan-*' | wc -l)
[ "$left" = "$2" ] || { echo "$left orphans are left, not $2"; exit 1; }
for overlay in "$1"/boxes/*/disks/*.qcow2; do
    qemu-img info -U --backing-chain "$overlay" > /dev/null || exit 1
done
