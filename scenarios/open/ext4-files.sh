# ext4-files.sh IMAGE: a 16 MiB ext4 with one file, fixed in every byte.
set -e
export E2FSPROGS_FAKE_TIME=1700000000
truncate -s 16M "$1"
mkfs.ext4 -q -F -b 1024 -U 5a6f1c0e-3f0b-4c55-9d0c-7a3f2f0f6c01 -E hash_seed=5a6f1c0e-3f0b-4c55-9d0c-7a3f2f0f6c02,lazy_itable_init=0,lazy_journal_init=0 -J size=1 "$1"
printf 'old 0123456789\n' > "$1.config"
debugfs -w -R "write $1.config config" "$1" > "$1.said" 2>&1
debugfs -w -R "sif config ctime 1700000000" -R "sif config mtime 1700000000" "$1" >> "$1.said" 2>&1
rm "$1.config" "$1.said"
