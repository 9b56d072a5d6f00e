# Writes four blocks of a file that is there, and flushes once.
for block in 0 1 2 3; do
    head -c 4096 /dev/zero | tr '\0' "$block" | dd of="$1" bs=4096 seek="$block" conv=notrunc status=none
done
sync
