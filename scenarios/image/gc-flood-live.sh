# gc-flood-live.sh HOME ACKS: every box that was started has its whole chain, with its own image at the end.
printf '%s\n' "$2" | while read -r box; do
    [ -n "$box" ] || continue
    qemu-img info -U --backing-chain "$1/boxes/$box/disks/root.qcow2" > /dev/null || exit 1
    [ "$(head -n 1 "$1/images/disk-images/$box.ext4" | tr -d '\0')" = "$box" ] || { echo "no image of $box"; exit 1; }
done
