#!/bin/sh
# A bare NTFS of 24 MiB with files of several lengths up to about 11 MiB, the same bytes every time with the same ntfs-3g.
# mkntfs can fake its time; what ntfscp writes with the time of the day is set to that time afterwards.
# Usage: ntfs-image.sh VOLUME
set -eu
image=$1/disk.img
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
begun=$(date +%s)
truncate -s 24M "$image"
mkntfs -F -Q -q -T -p 0 -H 0 -S 0 -s 512 -c 4096 -L DATA "$image" > "$work/said" 2>&1 || { cat "$work/said"; exit 1; }
yes 'a line of a file that has to be the same afterwards' | head -c 1M > "$work/text"
number=0
while [ "$number" -lt 16 ]; do
    # Lengths from 20 to 980 KiB, each from another place of the text.
    tail -c "+$((1 + number * 11))" "$work/text" | head -c "$((20 + number * 64))K" > "$work/file"
    ntfscp -q "$image" "$work/file" "file-$number"
    number=$((number + 1))
done
perl - "$image" "$begun" "$(date +%s)" <<'PERL'
use strict;
use warnings;
my ($path, $begun, $ended) = @ARGV;
# Units of 100 ns since 1601, as little-endian 64 bits.
my $ntfs = sub { ($_[0] + 11_644_473_600) * 10_000_000 };
my ($from, $to, $faked) = ($ntfs->($begun - 1), $ntfs->($ended + 1), $ntfs->(0));
# The last two bytes of every sector of a record are kept in an array in its head, and a sequence number stands in their
# place (NTFS's update sequence); a time may lie across them.
my $places = sub {
    my ($block, $at) = @_;
    my ($array, $count) = unpack 'vv', substr $$block, $at + 4, 4;
    return map { [$at + 512 * $_ - 2, $at + $array + 2 * $_, $at + $array] } 1 .. $count - 1;
};
open my $image, '+<:raw', $path or die "$path: $!\n";
for (my $at = 0; read $image, my $block, 1 << 20; $at += length $block) {
    my @ends;
    while ($block =~ /(?:FILE|INDX)/g) {
        push @ends, $places->(\$block, $-[0]) if $-[0] % 1024 == 0;
    }
    substr($block, $_->[0], 2) = substr $block, $_->[1], 2 for @ends;
    my $words = length($block) >> 3;
    my $changed = 0;
    my @words = map { $_ >= $from && $_ <= $to ? do { $changed = 1; $faked } : $_ } unpack "Q<$words", $block;
    next unless $changed;
    $block = pack 'Q<*', @words;
    for my $end (@ends) {
        substr($block, $end->[1], 2) = substr $block, $end->[0], 2;
        substr($block, $end->[0], 2) = substr $block, $end->[2], 2;
    }
    seek $image, $at, 0 or die "$path: $!\n";
    print $image $block or die "$path: $!\n";
    seek $image, $at + length $block, 0 or die "$path: $!\n";
}
close $image or die "$path: $!\n";
PERL
