# fork-diff.sh FORK SNAPSHOT: takes a differential snapshot: the numbers of the blocks of the memory that changed.
set -e
cmp -l "$1/memory" "$2/memory" | awk '{ print int(($1 - 1) / 4096) }' | uniq > "$1/memory.diff.part"
mv "$1/memory.diff.part" "$1/memory.diff"
