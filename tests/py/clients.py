"""Real Postgres clients against a running quipu: clients.py PORT METRIC. Prints one JSON object."""

import asyncio
import json
import sys

import asyncpg
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


async def with_asyncpg():
    connection = await asyncpg.connect(host="127.0.0.1", port=port, user="quipu", database="quipu")
    rows = await connection.fetch(query)
    out["asyncpg"] = [[row["timestamp"].timestamp(), row["value"], row["job"]] for row in rows]
    try:
        await connection.execute("CREATE TABLE t (a int)")
        out["ddl"] = "accepted"
    except asyncpg.PostgresError as error:
        out["ddl"] = error.sqlstate
    await connection.close()


asyncio.run(with_asyncpg())
print(json.dumps(out))
