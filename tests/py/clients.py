"""Real Postgres clients against a running quipu: clients.py PORT METRIC. Prints one JSON object."""

import json
import sys

import psycopg

port, metric = int(sys.argv[1]), sys.argv[2]
dsn = f"host=127.0.0.1 port={port} user=quipu dbname=quipu"
query = f"SELECT timestamp, value, job FROM {metric} ORDER BY timestamp, job LIMIT 3"
out = {}

with psycopg.connect(dsn) as connection:
    for name, binary in (("psycopg_text", False), ("psycopg_binary", True)):
        with connection.cursor(binary=binary) as cursor:
            rows = cursor.execute(query).fetchall()
            out[name] = [[row[0].timestamp(), row[1], row[2]] for row in rows]
    with connection.cursor() as cursor:
        one = cursor.execute(f"SELECT count(*) FROM {metric} WHERE value > %s", (-1.0,)).fetchone()
        out["parameter"] = one[0]
        try:
            cursor.execute("CREATE TABLE t (a int)")
            out["ddl"] = "accepted"
        except psycopg.Error as error:
            out["ddl"] = error.sqlstate

print(json.dumps(out))
