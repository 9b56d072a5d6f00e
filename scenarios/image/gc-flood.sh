# gc-flood.sh HOME BOXES: starts boxes at once. Each gets an image, a note that it has it, and an overlay; a start that was
# interrupted goes on where the note says, and trusts it. What is trusted is flushed before it has its name.
home=$1

start() {
    image=$home/images/disk-images/$1.ext4
    box=$home/boxes/$1
    [ -e "$box/disks/root.qcow2" ] && return
    mkdir -p "$box/disks" || return
    if [ ! -e "$box/pulled" ]; then
        { printf '%s\n' "$1"; head -c 65535 /dev/zero; } > "$image.part" || return
        sync "$image.part" && mv "$image.part" "$image" && sync "${image%/*}" || return
        echo "$1" > "$box/pulled.part" || return
        sync "$box/pulled.part" && mv "$box/pulled.part" "$box/pulled" && sync "$box" || return
    fi
    base=../../../images/disk-images/$1.ext4
    qemu-img create -q -f qcow2 -b "$base" -F raw "$box/disks/root.part" || return
    sync "$box/disks/root.part" && mv "$box/disks/root.part" "$box/disks/root.qcow2" && sync "$box/disks" || return
    echo "started $1"
}

pids=
n=0
while [ $n -lt "$2" ]; do
    n=$((n + 1))
    start "box-$n" &
    pids="$pids $!"
done
failed=0
for pid in $pids; do wait "$pid" || failed=1; done
exit $failed
