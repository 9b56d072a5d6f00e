# Makes a home: gc-home.sh FOLDER ORPHANS FRESH BACKED. Images that nothing needs, young ones, and ones that an overlay
# needs, every third of those through a second overlay. All but the young ones are old at 1700000000.
set -e
home=$1
mkdir -p "$home/images/disk-images" "$home/boxes"
images=$home/images/disk-images

image() {
    printf '%s\n' "$1" > "$images/$1.ext4"
    truncate -s 64K "$images/$1.ext4"
    touch -d "@$2" "$images/$1.ext4"
}

n=0
while [ $n -lt "$2" ]; do n=$((n + 1)); image "orphan-$n" 1699990000; done
n=0
while [ $n -lt "$3" ]; do n=$((n + 1)); image "fresh-$n" 1699999900; done
n=0
while [ $n -lt "$4" ]; do
    n=$((n + 1))
    image "backed-$n" 1699990000
    disks=$home/boxes/box-$n/disks
    mkdir -p "$disks"
    base=../../../images/disk-images/backed-$n.ext4
    qemu-img create -q -f qcow2 -b "$base" -F raw "$disks/root.qcow2"
    if [ $((n % 3)) = 0 ]; then
        qemu-img create -q -f qcow2 -b root.qcow2 -F qcow2 "$disks/top.qcow2"
    fi
done
