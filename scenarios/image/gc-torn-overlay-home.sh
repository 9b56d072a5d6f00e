# gc-torn-overlay-home.sh HOME: a box on an old image, with an overlay that is larger than its base, and one to reset it to.
set -e
mkdir -p "$1/images/disk-images" "$1/boxes/a/disks"
printf 'base\n' > "$1/images/disk-images/base.ext4"
truncate -s 64K "$1/images/disk-images/base.ext4"
touch -d @1577800000 "$1/images/disk-images/base.ext4"
base=../../../images/disk-images/base.ext4
qemu-img create -q -f qcow2 -b "$base" -F raw "$1/boxes/a/disks/root.qcow2"
cp "$1/boxes/a/disks/root.qcow2" "$1/template.qcow2"
qemu-img create -q -f qcow2 -b "$base" -F raw "$1/boxes/a/disks/root.qcow2" 8M
