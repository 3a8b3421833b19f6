"""DuckDB over quipu's log files: counts the lines that hold a text, on one thread.

logs.py NEEDLE FILE...: prints {"count": n, "cpu_s": best of three, "wall_s": best of three}.
"""

import json
import resource
import sys
import time

import duckdb

needle, files = sys.argv[1], sys.argv[2:]
connection = duckdb.connect()
connection.execute("SET threads = 1")


def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


best = None
for _ in range(3):
    begun, used = time.monotonic(), cpu()
    query = "SELECT count(*) FROM read_parquet($files, union_by_name = true) WHERE contains(body, $needle)"
    count = connection.execute(query, {"files": files, "needle": needle}).fetchone()[0]
    took = (cpu() - used, time.monotonic() - begun)
    best = took if best is None else min(best, took)
print(json.dumps({"count": count, "cpu_s": best[0], "wall_s": best[1]}))
