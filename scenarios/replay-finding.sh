#!/bin/sh
# Replays a finding that `killpoint export` wrote, without killpoint: puts the crash state together, checks that it is
# the recorded one, resumes on it, and compares every byte with an uninterrupted run.
#
# usage: replay-finding.sh DIR [WORK]
#
# DIR is the exported finding. WORK is a folder to work in, which must not exist or be empty, and stays; without it a
# temporary one is made and removed. The log is replayed by xfstests' replay-log where that is in PATH, else by python3.
#
# Exit codes: 0 the resume leaves what an uninterrupted run does · 1 it fails, or leaves something else · 2 bad usage ·
# 4 the crash state is not the recorded one · 5 neither replay-log nor python3 is there
set -u

say() { printf 'replay-finding: %s\n' "$*"; }
stop() {
    code=$1
    shift
    say "$@" >&2
    exit "$code"
}

# replay_by_python LOG IMAGE: drivers/md/dm-log-writes.c of Linux has the format.
replay_by_python() {
    python3 - "$1" "$2" <<'END'
import os, struct, sys

FLUSH, DISCARD, MARK = 1, 4, 8
log = open(sys.argv[1], "rb")
image = os.open(sys.argv[2], os.O_WRONLY)
magic, version, count, sector = struct.unpack("<QQQI", log.read(28))
if (magic, version) != (0x6A736677736872, 1):
    sys.exit("no dm-log-writes log of version 1")
log.seek(sector)
for number in range(1, count + 1):
    head = log.read(sector)
    if len(head) < sector:
        sys.exit("the log ends before entry %d" % number)
    first, sectors, flags, _ = struct.unpack("<4Q", head[:32])
    if flags & MARK:
        continue
    if flags & FLUSH:
        os.fsync(image)
    at, end = first * sector, (first + sectors) * sector
    while at < end:
        size = min(end - at, 1 << 20)
        piece = bytes(size) if flags & DISCARD else log.read(size)
        if len(piece) < size:
            sys.exit("the log ends inside entry %d" % number)
        while piece:
            done = os.pwrite(image, piece, at)
            at, piece = at + done, piece[done:]
END
}

# holds SUMS FOLDER: whether the file has the content that the sums say.
holds() { (cd "$2" && sha256sum -c --status "$1"); }

if [ $# -lt 1 ] || [ $# -gt 2 ]; then
    stop 2 "usage: replay-finding.sh DIR [WORK]"
fi
dir=$(cd "$1" 2>/dev/null && pwd) || stop 2 "there is no folder \`$1\`"
for name in base.img crash.log state.sha256 uninterrupted.sha256 resume.sh; do
    [ -f "$dir/$name" ] || stop 2 "\`$1\` is no exported finding: it has no $name"
done
if command -v replay-log >/dev/null; then
    by=replay-log
elif command -v python3 >/dev/null; then
    by=python3
else
    stop 5 "neither replay-log (of xfstests) nor python3 is there: apt-get install python3"
fi

if [ $# -eq 2 ]; then
    mkdir -p "$2" && work=$(cd "$2" && pwd) || stop 2 "\`$2\` can't be made"
    [ -z "$(ls -A "$work")" ] || stop 2 "\`$2\` is not empty"
else
    work=$(mktemp -d) || stop 2 "no temporary folder can be made"
    trap 'rm -rf "$work"' EXIT
    trap 'exit 130' INT TERM
fi

# A line of sha256sum: 64 digits, two spaces, the name.
file=$(sed 's/^.\{66\}//' "$dir/state.sha256")
volume=$work/volume
mkdir -p "$volume" "$work/scratch" || stop 2 "\`$work\` can't be written"
if [ -d "$dir/others" ]; then
    cp -a "$dir/others/." "$volume/" || stop 2 "\`$work\` can't be written"
fi
mkdir -p "$(dirname "$volume/$file")" && cp --sparse=always "$dir/base.img" "$volume/$file" ||
    stop 2 "\`$work\` can't be written"

say "$file: the state before the run, and crash.log replayed onto it by $by"
case $by in
replay-log) replay-log --log "$dir/crash.log" --replay "$volume/$file" ;;
python3) replay_by_python "$dir/crash.log" "$volume/$file" ;;
esac || stop 4 "crash.log can't be replayed"
holds "$dir/state.sha256" "$volume" || stop 4 "the state is not the recorded crash state"
say "the state is the recorded crash state"

sh "$dir/resume.sh" "$volume" "$work/scratch"
code=$?
[ $code -eq 0 ] || stop 1 "the resume failed"
say "the resume ended as it may"
holds "$dir/uninterrupted.sha256" "$volume" || stop 1 "$file differs from what an uninterrupted run leaves"
say "$file is what an uninterrupted run leaves"
