#!/bin/sh
# A small tree with what an image has to keep: modes, times, hard and symbolic links, a hole, a folder of two blocks.
# With a second argument, instead a tar archive of it, with a pipe besides.
# Usage: tree.sh VOLUME [ARCHIVE]
set -eu
volume=$1
tree=$volume/tree
mkdir -p "$tree/bin" "$tree/data/deep" "$tree/many"
yes 'a line of a file that an image has to hold' | head -c 300K > "$tree/data/text"
yes 'another one, in a second file' | head -c 150001 > "$tree/data/deep/more"
printf '#!/bin/sh\nexit 0\n' > "$tree/bin/tool"
chmod 4755 "$tree/bin/tool"
chmod 1777 "$tree/data"
chmod 0600 "$tree/data/text"
ln "$tree/bin/tool" "$tree/bin/same-tool"
ln -s tool "$tree/bin/short"
ln -s ./././././././././././././././././././././././././././././././tool "$tree/bin/long"
truncate -s 3M "$tree/hole"
printf 'behind the hole' | dd of="$tree/hole" bs=1 seek=2000000 conv=notrunc status=none
number=0
while [ "$number" -lt 120 ]; do
    echo "$number" > "$tree/many/a-file-with-a-name-of-some-length-$number"
    number=$((number + 1))
done
[ $# -lt 2 ] || mkfifo "$tree/pipe"
find "$tree" -exec touch -h -d @1700000000.5 {} +
if [ $# -gt 1 ]; then
    tar --create --file "$volume/$2" --format gnu --sparse --sort name --numeric-owner --owner 1000 --group 1000 \
        --directory "$tree" .
    rm -r "$tree"
fi
