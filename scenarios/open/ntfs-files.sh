#!/bin/sh
# Holds where every file of the start is in the image with the same bytes.
# Usage: ntfs-files.sh IMAGE START_IMAGE
set -u
number=0
while [ "$number" -lt 16 ]; do
    # `--force` also reads a volume that is marked dirty, which a crash leaves it.
    was=$(ntfscat --force --quiet "$2" "file-$number" | cksum)
    if ! is=$(ntfscat --force --quiet "$1" "file-$number" | cksum) || [ "$is" != "$was" ]; then
        echo "file-$number: cksum $is instead of $was"
        exit 1
    fi
    number=$((number + 1))
done
