# set-option.sh FILE NAME VALUE: changes one setting of a configuration file, in place. It works, unless it is killed.
set -eu
file=$1 name=$2 value=$3
settings=$(cat "$file")
: > "$file"
printf '%s\n' "$settings" | while IFS='=' read -r key old; do
    [ -n "$key" ] || continue
    if [ "$key" = "$name" ]; then old=$value; fi
    echo "$key=$old" >> "$file"
done
