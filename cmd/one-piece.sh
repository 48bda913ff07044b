#!/bin/sh
# one-piece.sh PROGRAM...: write each program anew, in a single write, unless
# that was done since it was linked.
#
# The linker writes a program through a mapping of its file, which puts the
# pages of it into the page cache one by one. What is written in one piece lies
# there in pieces of up to 2 MiB, where the file system knows that (ext4 since
# Linux 6.16, XFS since 5.18), and a start maps such a piece by one page fault
# instead of 32. It is the same after a copy, only that cp writes 256 KiB at a
# time. The start of a CNI plugin is 0.4 ms of 1.6 shorter.
set -eu
for program; do
	done=bin/.whole/$(echo "$program" | tr / _)
	if [ -e "$done" ] && [ ! "$program" -nt "$done" ]; then
		continue
	fi
	whole=$program.$$
	trap 'rm -f "$whole"' EXIT
	dd if="$program" of="$whole" bs=128M status=none
	chmod 755 "$whole"
	mv -f "$whole" "$program"
	mkdir -p bin/.whole
	touch -r "$program" "$done"
done
