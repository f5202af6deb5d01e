#!/usr/bin/env python3
"""Computes which variant a unit gets, in another language than the service.

    python3 docs/experiments/check.py                 checks assignment.tsv beside it
    python3 docs/experiments/check.py SALT UNIT ...   prints the buckets of units
    python3 docs/experiments/check.py --write         writes assignment.tsv anew

A unit takes part where its ramp bucket is below the ramp (in basis points), and gets the first variant whose
shares, added up in the order of the definition, exceed its variant bucket. Exit code 1: something differs.
"""

import hashlib
import pathlib
import sys

FILE = pathlib.Path(__file__).with_name("assignment.tsv")


def bucket(salt: str, purpose: str, unit: str) -> int:
    """One of 10,000."""
    text = "\n".join(["guafen/experiment/1", salt, purpose, unit])
    digest = hashlib.sha256(text.encode()).digest()
    return int.from_bytes(digest[:8], "big") * 10_000 >> 64


def variant(number: int, shares: list[int]) -> int:
    """The place of the variant; -1 where the shares do not reach the bucket."""
    end = 0
    for place, share in enumerate(shares):
        end += share
        if number < end:
            return place
    return -1


def line(salt: str, unit: str, shares: list[int]) -> str:
    ramp, number = bucket(salt, "ramp", unit), bucket(salt, "variant", unit)
    listed = ",".join(map(str, shares))
    return f"{salt}\t{unit}\t{ramp}\t{number}\t{listed}\t{variant(number, shares)}"


def examples() -> list[str]:
    """The examples that stand in the file."""
    salts = ["big_button", "0198c9f2-0000-7000-8000-00000000000a", "x"]
    units = ["ann", "bob", "A.b_c-9", "z" * 64, "0198c9f2-0000-7000-8000-00000000000b", "room-1"]
    units += [f"user-{number}" for number in range(100)]
    shares = [[5000, 5000], [9000, 1000], [3334, 3333, 3333], [1, 9999]]
    lines = ["# salt, unit, ramp bucket, variant bucket, shares in basis points, place of the variant"]
    for count, salt in enumerate(salts):
        for place, unit in enumerate(units):
            lines.append(line(salt, unit, shares[(count + place) % len(shares)]))
    return lines


def main() -> int:
    arguments = sys.argv[1:]
    if arguments == ["--write"]:
        FILE.write_text("\n".join(examples()) + "\n")
        return 0
    if arguments:
        salt, *units = arguments
        for unit in units:
            print(unit, "ramp", bucket(salt, "ramp", unit), "variant", bucket(salt, "variant", unit))
        return 0
    wrong = 0
    lines = [text for text in FILE.read_text().splitlines() if not text.startswith("#")]
    for text in lines:
        salt, unit, _, _, shares, _ = text.split("\t")
        if line(salt, unit, list(map(int, shares.split(",")))) != text:
            wrong += 1
            print("differs:", text)
    print(f"{len(lines)} examples, {wrong} differ")
    return 1 if wrong or not lines else 0


if __name__ == "__main__":
    sys.exit(main())
