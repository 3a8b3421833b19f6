"""Records a scraped target as benches/data/node.txt.zst: python record.py URL INTERVAL_S COUNT FILE. The format: README.md."""

import re
import sys
import time
import urllib.request

import pyarrow


def scrape(url, series, types, at):
    for line in urllib.request.urlopen(url).read().decode().splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ", 3)
            types[name] = kind
        elif line and line[0] != "#":
            key, value = line.rsplit(" ", 1)
            series.setdefault(key, {})[at] = value


def is_counter(key, types):
    name = key.split("{", 1)[0]
    family = re.sub("_(bucket|sum|count)$", "", name)
    return types.get(name) == "counter" or types.get(family) in ("histogram", "summary") and family != name


def whole(text):
    number = float(text)
    return int(number) if number == number and abs(number) < 2**53 and number == int(number) else None


def tokens(values):
    before = None
    for value in values:
        old, new = (whole(before) if before else None), whole(value)
        if value == before:
            yield ""
        elif old is not None and new is not None:
            yield f"{new - old:+d}"
        else:
            yield value if new is None else str(new)
        before = value


def main(url, interval, count, out):
    series, types = {}, {}
    next_at = time.monotonic()
    for at in range(count):
        scrape(url, series, types, at)
        next_at += interval
        time.sleep(max(0, next_at - time.monotonic()))
    lines = []
    for key in sorted(series):
        values = series[key]
        # A series that comes or goes would need a sign for "nothing here"; the recording is of those that stay.
        is_odd = any("inf" in v.lower() or "nan" in v.lower() for v in values.values())
        if len(values) == count and not is_odd and not key.split("{")[0].endswith("_info"):
            kind = "counter" if is_counter(key, types) else "gauge"
            lines.append(f"{kind}\t{key}\t" + " ".join(tokens(values[at] for at in range(count))))
    text = f"# interval {interval} s, {count} samples a series\n" + "\n".join(lines) + "\n"
    packed = pyarrow.Codec("zstd", compression_level=19).compress(text.encode(), asbytes=True)
    open(out, "wb").write(packed)
    print(f"{len(lines)} series, {len(lines) * count} samples, {len(packed)} bytes")


main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
