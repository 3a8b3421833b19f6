"""What delta-rs, Polars and DuckDB make of the table of logs in the folder given as the first argument."""

import sys

import duckdb
import polars as pl
import pyarrow as pa
from deltalake import DeltaTable

logs = f"{sys.argv[1]}/default/logs"
table = DeltaTable(logs)
names = [field.name for field in table.schema().fields]
assert names[-2:] == ["label_app", "label_zone"], names
assert table.version() == 2, table.version()

rows = pa.table(table.to_pyarrow_table())
assert rows.num_rows == 2_000, rows.num_rows
zones = rows.column("label_zone").to_pylist()
assert (zones.count(None), zones.count("eu")) == (1_000, 1_000), "a file without the column reads as null"
first = next(row for row in rows.to_pylist() if row["body"] == "line 999")
assert first["trace_id"] == (999).to_bytes(16, "big"), first
assert first["severity"] == "info" and dict(first["attributes"]) == {"level": "info", "user": "ann"}, first
assert [name for name, _ in first["labels"]] == ["Flush"], first
assert first["timestamp_ns_rest"] == 999 * 1_001 % 1_000, first
print("ok: delta-rs reads both files through the grown schema")

frame = pl.scan_delta(logs)
count = frame.filter(pl.col("label_zone") == "eu").filter(pl.col("body").str.contains("line 99")).select(pl.len())
assert count.collect().item() == 11, count.collect()
print("ok: Polars filters by a label that only one file has")

files = table.file_uris()
sql = "SELECT count(*), count(label_zone), count(DISTINCT trace_id) FROM read_parquet(?, union_by_name = true) WHERE body LIKE 'line %'"
assert duckdb.execute(sql, [files]).fetchone() == (2_000, 1_000, 1_000)
sql = "SELECT count(*) FROM read_parquet(?, union_by_name = true) WHERE labels['Flush'] = '2'"
assert duckdb.execute(sql, [files]).fetchone() == (1_000,)
sql = "SELECT count(*) FROM read_parquet(?, union_by_name = true) WHERE trace_id = from_hex('000000000000000000000000000003e7')"
assert duckdb.execute(sql, [files]).fetchone() == (2,), "with the bloom filters"
print("ok: DuckDB reads the files")
