"""Other engines on quipu's files with quipu stopped: readers.py FOLDER_OF_TENANT METRIC. Prints one JSON object."""

import json
import sys

import duckdb
import polars
from deltalake import DeltaTable

folder, metric = sys.argv[1], sys.argv[2]
samples, series = DeltaTable(f"{folder}/samples"), DeltaTable(f"{folder}/series")
files = samples.file_uris()
series_files = series.file_uris()
out = {"files": len(files)}

sql = "SELECT count(*), sum(value) FROM read_parquet(?) WHERE metric = ?"
out["duckdb"] = duckdb.execute(sql, [files, metric]).fetchone()

join = """
SELECT count(*) FROM read_parquet(?) s
JOIN (SELECT DISTINCT metric, series_id, day, labels FROM read_parquet(?)) r
  ON s.metric = r.metric AND s.series_id = r.series_id AND CAST(s.timestamp AT TIME ZONE 'UTC' AS DATE) = r.day
WHERE s.metric = ?
"""
out["joined"] = duckdb.execute(join, [files, series_files, metric]).fetchone()[0]

# After a merge of the whole day there is one row per series and day: nothing has to be made distinct.
plain = join.replace("SELECT DISTINCT metric, series_id, day, labels FROM", "SELECT metric, series_id, day, labels FROM")
assert plain != join
out["joined_plainly"] = duckdb.execute(plain, [files, series_files, metric]).fetchone()[0]

frame = polars.scan_delta(f"{folder}/samples").filter(polars.col("metric") == metric)
out["polars"] = list(frame.select(polars.len(), polars.col("value").sum()).collect().row(0))

try:
    samples.optimize.compact()
    out["optimize"] = "accepted"
except Exception as error:  # whatever type delta-rs gives it
    out["optimize"] = f"refused: {error}"[:200]

print(json.dumps(out))
