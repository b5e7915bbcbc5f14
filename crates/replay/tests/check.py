#!/usr/bin/env python3
"""Replays traffic through rate limits in the slow and obvious way, to check meter-replay against.

Shares nothing with it: own parsers, and a token bucket straight from the textbook, in exact integers. A
bucket of B units drains at C units per period P; a request for n cells of weight w is admitted if the level
plus n*w is at most B. To stay with integers, levels are counted in units times P: in dt nanoseconds,
dt * C of that drain. Of two limits with an & between, both must admit, or neither takes anything.

Other limiters are as naive: a fixed window, a sliding log that keeps every admitted request, and a sliding window
each look through all that was admitted before; nginx is written down from its documentation and source, for the
clock it has.

    check.py --limit "100/min burst 20" [--limit ...] [--by ip|host|path|status|all|COLUMN] [--cost COLUMN]
             [--ipv6-prefix N] [--order sort|as-is] [--spread=even] FILE...

Limits may also be fixed:100/min, sliding-log:100/min, sliding-window:100/min, and nginx:10r/s burst=20 nodelay. With
--spread=even the requests of one stamp, of each key by itself, are spaced evenly over the unit that all stamps of the
file are multiples of. Files may be access logs, delimited text or packet captures of Ethernet, each of them gzip or not.

Prints a line for each limit, with tabs: limit, cells asked, admitted, denied, keys ever denied. Then the
number of bad lines.
"""

import argparse
import calendar
import csv
import gzip
import ipaddress
import re
import struct
import time
from fractions import Fraction
from urllib.parse import urlsplit

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
    r' "(?P<request>.*?)" (?P<status>\d{3}) (?:\d+|-)(?: ".*" ".*")?'
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
    """The fields of a log line by their names, and its time."""
    match = LOG_LINE.fullmatch(text)
    if not match:
        raise Bad
    try:
        seconds = calendar.timegm(time.strptime(match["local"], "%d/%b/%Y:%H:%M:%S"))
    except ValueError:
        raise Bad from None
    return match, (seconds - east_of_utc(match)) * 10**9


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


def path(request):
    words = request.split(" ")
    if len(words) < 2:
        return "-"
    if words[-1].startswith("HTTP/"):
        words.pop()
    target = " ".join(words[1:])
    if target.startswith("/"):
        return re.split("[?#]", target)[0]
    parts = urlsplit(target)
    return (parts.path or "/") if parts.scheme and parts.netloc else re.split("[?#]", target)[0] or "-"


def log(lines, options):
    """The events of an access log, `Bad` for each bad line."""
    keys = {
        "all": lambda fields: "all",
        "path": lambda fields: path(fields["request"]),
        "status": lambda fields: fields["status"],
    }
    key = keys.get(options.by, lambda fields: fields["client"])
    for line in lines:
        try:
            fields, at = log_line(line)
            yield at, key(fields), 1
        except Bad:
            yield Bad


def packets(data, options):
    """The packets of a capture: the bytes they had on the wire, and between whom."""
    order = "<" if data[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1") else ">"
    unit = 1 if b"\x3c" in data[:4] else 1000
    at = 24
    while at < len(data):
        seconds, fraction, captured, wire = struct.unpack_from(order + "IIII", data, at)
        frame = data[at + 16 : at + 16 + captured]
        at += 16 + captured
        tags = 0
        while frame[12 + tags : 14 + tags] in (b"\x81\x00", b"\x88\xa8", b"\x91\x00"):
            tags += 4
        packet = frame[14 + tags :]
        pair = {
            b"\x08\x00": (packet[12:16], packet[16:20]),
            b"\x86\xdd": (packet[8:24], packet[24:40]),
        }.get(frame[12 + tags : 14 + tags])
        if options.by == "all":
            key = "all"
        elif pair is None:
            key = "neither IPv4 nor IPv6"
        else:
            address = ipaddress.ip_address(pair[options.by == "host"])
            if address.version == 6 and options.ipv6_prefix:
                address = ipaddress.ip_network((address, options.ipv6_prefix), strict=False)
            key = str(address)
        yield seconds * 10**9 + fraction * unit, key, wire


def is_log(lines):
    for line in lines:
        try:
            log_line(line)
            return True
        except Bad:
            pass
    return False


def events_of(path, options):
    with open(path, "rb") as file:
        data = file.read()
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    if data[:4] in (b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\xc3\xd4", b"\x4d\x3c\xb2\xa1", b"\xa1\xb2\x3c\x4d"):
        return list(packets(data, options))
    text = data.decode("latin-1").replace("\r\n", "\n")
    lines = [line for line in text.split("\n") if line.strip()]
    return list(log(lines, options) if is_log(lines[:500]) else records(lines, options))


def meter(limits):
    """A token bucket, or two of which both must admit."""
    limits = [LIMIT.fullmatch(limit.strip()) for limit in limits.split("&")]
    cells = [int(match[1]) for match in limits]
    periods = [int(match[2] or 1) * UNITS[match[3]] for match in limits]
    bursts = [int(match[4] or match[1]) for match in limits]
    weights = [int(match[5] or 1) for match in limits]
    every = range(len(limits))
    states = {}

    def admits(now, key, count):
        levels, last = states.get(key, ([0 for _ in every], now))
        levels = [max(0, levels[i] - (now - last) * cells[i]) for i in every]
        filled = [levels[i] + count * weights[i] * periods[i] for i in every]
        conforms = count == 0 or all(filled[i] <= bursts[i] * periods[i] for i in every)
        states[key] = (filled if conforms else levels, now)
        return conforms

    return admits


def window(kind, limit):
    """Limiters that count what they admitted, all of which is kept by key."""
    match = LIMIT.fullmatch(limit)
    most, period = int(match[1]), int(match[2] or 1) * UNITS[match[3]]
    admitted = {}

    def counted(past, start, end):
        return sum(count for at, count in past if start <= at < end)

    def admits(now, key, count):
        past = admitted.setdefault(key, [])
        start = now - now % period
        if kind == "fixed":
            used = counted(past, start, start + period)
        elif kind == "sliding-log":
            used = counted(past, now - period + 1, now + 1)
        else:
            covered = Fraction(period - (now - start), period)
            used = counted(past, start, start + period) + covered * counted(past, start - period, start)
        conforms = count == 0 or used + count <= most
        if conforms:
            past.append((now, count))
            # A request two periods back is in no window.
            while past and past[0][0] < start - period:
                past.pop(0)
        return conforms

    return admits


NGINX = re.compile(r"(\d+)r/([sm])(?: burst=(\d+))?(?: (nodelay|delay=\d+))?")


def nginx(limit):
    """limit_req, each request for itself; what is held back is admitted."""
    match = NGINX.fullmatch(limit)
    thousandths_a_second = int(match[1]) * 1000 // (60 if match[2] == "m" else 1)
    most = int(match[3] or 0) * 1000
    excess, last = {}, {}

    def admits(now, key, _):
        now //= 10**6
        if key == "":
            return True
        if key not in last:
            excess[key], last[key] = 0, now
            return True
        passed = now - last[key]
        if passed < 0:
            passed = 1 if passed < -60000 else 0
        after = max(0, excess[key] + 1000 - thousandths_a_second * passed // 1000)
        if after > most:
            return False
        excess[key] = after
        if passed:
            last[key] = now
        return True

    return admits


def limiter(limit):
    kind, _, rest = limit.partition(":")
    if kind == "nginx":
        return nginx(rest)
    return window(kind, rest) if rest else meter(limit)


def replay(limit, events):
    admits = limiter(limit)
    admitted = denied = 0
    keys_denied = set()
    for now, key, count in events:
        if admits(now, key, count):
            admitted += count
        else:
            denied += count
            keys_denied.add(key)
    return admitted + denied, admitted, denied, len(keys_denied)


def unit_of(times):
    """The coarsest unit that all stamps of a file are multiples of; a minute takes many of them to be believed."""
    units = [10**9, 10**6, 10**3, 1]
    if len(set(times)) >= 8:
        units.insert(0, 60 * 10**9)
    return next(unit for unit in units if all(at % unit == 0 for at in times))


def spread(events, units):
    """Spaces the events that share stamp and key evenly over the unit of their file."""
    alike = {}
    for at, key, _ in events:
        alike[at, key] = alike.get((at, key), 0) + 1
    before = {}
    spaced = []
    for (at, key, count), unit in zip(events, units):
        number = before.get((at, key), 0)
        before[at, key] = number + 1
        spaced.append((at + unit * number // alike[at, key], key, count))
    return spaced


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--limit", action="append", required=True)
    parser.add_argument("--by")
    parser.add_argument("--cost")
    parser.add_argument("--ipv6-prefix", type=int)
    parser.add_argument("--order", default="sort")
    parser.add_argument("--spread", default="none")
    parser.add_argument("files", nargs="+")
    options = parser.parse_args()
    files = [events_of(path, options) for path in options.files]
    bad = sum(file.count(Bad) for file in files)
    files = [[event for event in file if event is not Bad] for file in files]
    files = [file for file in files if file]
    if options.order == "sort":
        files.sort(key=lambda file: (min(event[0] for event in file), max(event[0] for event in file)))
    events = [(event, unit) for file in files for unit in [unit_of([event[0] for event in file])] for event in file]
    if options.order == "sort":
        events.sort(key=lambda event: event[0][0])
    units = [unit for _, unit in events]
    events = [event for event, _ in events]
    if options.spread == "even":
        events = spread(events, units)
        events.sort(key=lambda event: event[0])
    for limit in options.limit:
        print(limit, *replay(limit, events), sep="\t")
    print("bad", bad, sep="\t")


main()
