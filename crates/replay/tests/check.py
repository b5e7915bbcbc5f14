#!/usr/bin/env python3
"""Replays traffic through rate limits in the slow and obvious way, to check meter-replay against.

Shares nothing with it: own parsers, and a token bucket straight from the textbook, in exact integers. A
bucket of B units drains at C units per period P; a request for n cells of weight w is admitted if the level
plus n*w is at most B. To stay with integers, levels are counted in units times P: in dt nanoseconds,
dt * C of that drain.

    check.py --limit "100/min burst 20" [--limit ...] [--by ip|all|COLUMN] [--cost COLUMN] FILE...

Prints a line for each limit, with tabs: limit, cells asked, admitted, denied, keys ever denied. Then the
number of bad lines.
"""

import argparse
import calendar
import csv
import re
import time

UNITS = {
    "ns": 1,
    "us": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "min": 60 * 10**9,
    "h": 3600 * 10**9,
    "d": 86400 * 10**9,
}
LIMIT = re.compile(r"(\d+)/(\d*)([a-z]+)(?: burst (\d+))?(?: weight (\d+))?")
LOG_LINE = re.compile(
    r"(?P<client>\S+) \S+ \S+ \[(?P<local>\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d) (?P<sign>[+-])(?P<hours>\d\d)(?P<minutes>\d\d)\]"
    r' ".*" \d{3} (?:\d+|-)(?: ".*" ".*")?'
)
CIVIL = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.(\d+))?(?:Z|(?P<sign>[+-])(?P<hours>\d\d):(?P<minutes>\d\d))?"
)
UNIX = re.compile(r"(\d+)(?:\.(\d+))?")


class Bad(Exception):
    """A line that gives no event."""


def east_of_utc(match):
    if match["sign"] is None:
        return 0
    seconds = int(match["hours"]) * 3600 + int(match["minutes"]) * 60
    return -seconds if match["sign"] == "-" else seconds


def nanoseconds(fraction):
    return int((fraction or "").ljust(9, "0")[:9])


def log_line(text):
    """The client and the time of a log line."""
    match = LOG_LINE.fullmatch(text)
    if not match:
        raise Bad
    try:
        seconds = calendar.timegm(time.strptime(match["local"], "%d/%b/%Y:%H:%M:%S"))
    except ValueError:
        raise Bad from None
    return match["client"], (seconds - east_of_utc(match)) * 10**9


def stamp(text):
    """The time of a record."""
    text = text.strip()
    if match := UNIX.fullmatch(text):
        return int(match[1]) * 10**9 + nanoseconds(match[2])
    match = CIVIL.fullmatch(text)
    if not match:
        raise Bad
    try:
        seconds = calendar.timegm(time.strptime(f"{match[1]} {match[2]}", "%Y-%m-%d %H:%M:%S"))
    except ValueError:
        raise Bad from None
    return (seconds - east_of_utc(match)) * 10**9 + nanoseconds(match[3])


def records(lines, options):
    """The events of delimited text, `Bad` for each bad line."""
    tabs = "\t" in lines[0]
    rows = csv.reader(
        lines,
        delimiter="\t" if tabs else ",",
        quoting=csv.QUOTE_NONE if tabs else csv.QUOTE_MINIMAL,
    )
    header = next(rows)
    at = next(place for place, name in enumerate(header) if name.lower() in ("time", "timestamp"))
    key = None if options.by in (None, "all") else header.index(options.by)
    cost = None if options.cost is None else header.index(options.cost)
    for row in rows:
        if len(row) != len(header):
            yield Bad
            continue
        try:
            cells = 1 if cost is None else int(row[cost])
            if cells < 0:
                raise Bad
            yield stamp(row[at]), "all" if key is None else row[key], cells
        except (Bad, ValueError):
            yield Bad


def log(lines, options):
    """The events of an access log, `Bad` for each bad line."""
    for line in lines:
        try:
            client, at = log_line(line)
            yield at, "all" if options.by == "all" else client, 1
        except Bad:
            yield Bad


def is_log(lines):
    for line in lines:
        try:
            log_line(line)
            return True
        except Bad:
            pass
    return False


def events_of(path, options):
    with open(path, encoding="latin-1", newline="") as file:
        lines = [line for line in file.read().replace("\r\n", "\n").split("\n") if line.strip()]
    return list(log(lines, options) if is_log(lines[:500]) else records(lines, options))


def replay(limit, events):
    match = LIMIT.fullmatch(limit)
    cells = int(match[1])
    period = int(match[2] or 1) * UNITS[match[3]]
    burst = int(match[4] or cells)
    weight = int(match[5] or 1)
    levels = {}
    admitted = denied = 0
    keys_denied = set()
    for now, key, count in events:
        level, last = levels.get(key, (0, now))
        level = max(0, level - (now - last) * cells)
        volume = count * weight * period
        if count == 0 or level + volume <= burst * period:
            level += volume
            admitted += count
        else:
            denied += count
            keys_denied.add(key)
        levels[key] = (level, now)
    return admitted + denied, admitted, denied, len(keys_denied)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--limit", action="append", required=True)
    parser.add_argument("--by")
    parser.add_argument("--cost")
    parser.add_argument("files", nargs="+")
    options = parser.parse_args()
    files = [events_of(path, options) for path in options.files]
    bad = sum(file.count(Bad) for file in files)
    files = [[event for event in file if event is not Bad] for file in files]
    files = [file for file in files if file]
    files.sort(key=lambda file: (min(event[0] for event in file), max(event[0] for event in file)))
    events = sorted((event for file in files for event in file), key=lambda event: event[0])
    for limit in options.limit:
        print(limit, *replay(limit, events), sep="\t")
    print("bad", bad, sep="\t")


main()
