"""What delta-rs, Polars and DuckDB make of the tables of histograms and exemplars in the folder given as the first argument."""

import sys

import duckdb
import polars as pl
from deltalake import DeltaTable

histograms, exemplars = (DeltaTable(f"{sys.argv[1]}/default/{name}") for name in ("histograms", "exemplars"))
names = [field.name for field in histograms.schema().fields]
assert names == [
    "metric", "series_id", "timestamp", "count", "sum", "zero_count", "zero_threshold", "schema", "reset_hint", "is_float",
    "positive_spans", "positive_counts", "negative_spans", "negative_counts", "custom_bounds",
], names
rows = histograms.to_pyarrow_table().to_pylist()
assert len(rows) == 6_000, len(rows)
row = next(row for row in rows if row["count"] == 1_000.0)
assert (row["schema"], row["reset_hint"], row["is_float"], row["sum"]) == (3, 0, False, 499.5), row
assert row["positive_spans"] == [{"offset": -4, "length": 1}, {"offset": 2, "length": 2}], row
assert row["positive_counts"] == [999.0, 0.0, 1.0] and row["negative_spans"] == [] == row["custom_bounds"], row
print("ok: delta-rs reads histograms")

# Not at the end: Arrow reads ahead in threads, and one that still runs when Python leaves aborts the process.
rows = exemplars.to_pyarrow_table().to_pylist()
assert len(rows) == 60 and all(name == "trace_id" for row in rows for name, _ in row["labels"]), rows[0]
print("ok: delta-rs reads exemplars")

frame = pl.scan_delta(histograms.table_uri)
total = frame.select(pl.col("count").sum(), pl.col("positive_counts").list.sum().sum().alias("buckets")).collect().row(0)
assert total == (2 * 3_000 * 3_001 / 2, 2 * 3_000 * 3_001 / 2), total
print("ok: Polars adds up buckets")

sql = "SELECT count(*), sum(list_sum(positive_counts)), max(positive_spans[2].length), count(DISTINCT series_id) FROM read_parquet(?) WHERE metric = 'latency'"
found = duckdb.execute(sql, [histograms.file_uris()]).fetchone()
assert found == (6_000, 9_003_000.0, 2, 2), found
sql = "SELECT count(*), count(DISTINCT labels['trace_id']), sum(value) FROM read_parquet(?)"
found = duckdb.execute(sql, [exemplars.file_uris()]).fetchone()
assert found == (60, 60, 2 * sum(range(0, 3_000, 100))), found
joined = """
SELECT count(*) FROM read_parquet(?) h JOIN read_parquet(?) e
  ON h.metric = e.metric AND h.series_id = e.series_id AND h.timestamp = e.timestamp WHERE h.sum = e.value / 2
"""
found = duckdb.execute(joined, [histograms.file_uris(), exemplars.file_uris()]).fetchone()
assert found == (60,), found
print("ok: DuckDB reads both and joins them")
