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
        try:
            cursor.execute("CREATE TABLE t (a int)")
            out["ddl"] = "accepted"
        except psycopg.Error as error:
            out["ddl"] = error.sqlstate



async def with_asyncpg():
    """What asyncpg does without being asked: binary results, prepared statements, portals, a pool's resets."""
    place = {"host": "127.0.0.1", "port": port, "user": "quipu", "database": "quipu"}
    try:
        await asyncpg.connect(**place, server_settings={"client_encoding": "latin1"})
    except asyncpg.PostgresError as error:
        out["asyncpg_refused"] = error.sqlstate
    pool = await asyncpg.create_pool(**place, min_size=1, max_size=2)
    async with pool.acquire() as connection:
        rows = await connection.fetch(query)
        out["asyncpg"] = [[row[0].timestamp(), row[1], row[2]] for row in rows]
    async with pool.acquire() as connection, connection.transaction():
        count = 0
        async for _ in connection.cursor(f"SELECT value FROM {metric} WHERE value > $1", -1.0, prefetch=50):
            count += 1
        out["asyncpg_cursor"] = count
        out["asyncpg_labels"] = json.loads(
            await connection.fetchval("SELECT labels FROM series WHERE metric = $1 ORDER BY labels->>'host'", metric)
        )
    await pool.close()


asyncio.run(with_asyncpg())
print(json.dumps(out))
