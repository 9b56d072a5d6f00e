# gc-flood-home.sh HOME: a home with one box that runs on an old image.
set -e
mkdir -p "$1/images/disk-images" "$1/boxes/old/disks"
printf 'old\n' > "$1/images/disk-images/old.ext4"
truncate -s 64K "$1/images/disk-images/old.ext4"
touch -d @1577800000 "$1/images/disk-images/old.ext4"
qemu-img create -q -f qcow2 -b ../../../images/disk-images/old.ext4 -F raw "$1/boxes/old/disks/root.qcow2"
