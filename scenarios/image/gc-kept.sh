# gc-kept.sh HOME START: everything that is no orphan is there, with its bytes.
cd "$2" || exit 77
find . ! -name 'orphan-*' -type f | while read -r name; do
    cmp -s "$name" "$1/$name" || { echo "$name is gone or changed"; exit 1; }
done
