# set-option-mended.sh FILE NAME VALUE: changes one setting of a configuration file, by way of a second file that takes
# the first one's name once it is whole. Whoever reads meanwhile, or after a crash, sees the old settings or the new ones.
set -eu
file=$1 name=$2 value=$3
while IFS='=' read -r key old; do
    if [ "$key" = "$name" ]; then old=$value; fi
    echo "$key=$old"
done < "$file" > "$file.new"
sync "$file.new"
mv "$file.new" "$file"
sync "$(dirname "$file")"
