# fork-snapshot.sh FOLDER: a guest's snapshot: a sparse memory file, a disk, a configuration, and what a fork leaves out.
set -e
mkdir -p "$1/logs" "$1/state"
truncate -s 16M "$1/memory"
for place in 0 1000 2500 4095; do
    printf 'guest page %s' $place | dd of="$1/memory" bs=4096 seek=$place conv=notrunc status=none
done
head -c 100000 /dev/zero | tr '\0' 'd' > "$1/disk.qcow2"
printf '{"cpus": 2}\n' > "$1/state/config.json"
chmod 640 "$1/state/config.json"
chmod 2750 "$1/state"
ln -s ../memory "$1/state/current"
printf 'noise\n' > "$1/logs/vm.log"
printf 'half' > "$1/memory.lz4.tmp"
