#!/usr/bin/env python3
"""Takes over into a corpus what reaches the most that it does not reach: keep.py CONTROL CORPUS.

CONTROL is what libFuzzer's -merge_control_file wrote while it ran the corpus and new files. At most
FILES_MAX files are taken, none longer than BYTES_MAX, so that the corpora stay small.
"""

import hashlib
import pathlib
import sys

FILES_MAX = 48
BYTES_MAX = 2048


def main():
    control, corpus = map(pathlib.Path, sys.argv[1:])
    lines = control.read_text().splitlines()
    files = [pathlib.Path(line) for line in lines[2 : 2 + int(lines[0])]]
    reached, new = set(), {}
    for line in lines[2 + len(files) :]:
        word, number, *features = line.split()
        if word != "FT":
            continue
        file = files[int(number)]
        if file.parent == corpus:
            reached |= set(features)
        elif file.stat().st_size <= BYTES_MAX:
            new[file] = set(features)
    for _ in range(FILES_MAX):
        # Of those that reach as much, the shortest.
        gain = lambda file: (len(new[file] - reached), -file.stat().st_size)
        best = max(new, key=gain, default=None)
        if best is None or not new[best] - reached:
            break
        content = best.read_bytes()
        (corpus / hashlib.sha1(content).hexdigest()).write_bytes(content)
        reached |= new.pop(best)


main()
