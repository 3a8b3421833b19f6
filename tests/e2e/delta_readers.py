"""What delta-rs and Polars make of the tables in the folder given as the first argument."""

import datetime
import os
import shutil
import sys

import polars as pl
import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

root = sys.argv[1]
samples = f"{root}/default/samples"
series = f"{root}/default/series"


def refused(what, action):
    try:
        action()
    except Exception as error:  # the class differs from call to call
        text = str(error)
        assert "quipu" in text or "nsupported" in text, text
        print(f"ok: {what} is refused: {text.splitlines()[0]}")
        return
    sys.exit(f"FAILED: {what} was not refused")


def log_of(table):
    return sorted(os.listdir(f"{table}/_delta_log"))


def check_rows(table, note):
    rows = pl.from_arrow(table.to_pyarrow_table()).sort("metric", "timestamp")
    assert rows.shape == (40, 5), rows.shape
    assert rows["metric"].unique().sort().to_list() == ["a", "b", "c", "d"]
    assert rows["value"].sum() == 4 * 45.0
    assert rows["timestamp"][0] == datetime.datetime(2023, 11, 14, 22, 13, 20, tzinfo=datetime.timezone.utc)
    print(f"ok: 40 rows {note}")


table = DeltaTable(samples)
assert table.version() == 5, table.version()
assert table.protocol().min_reader_version == 1 and table.protocol().min_writer_version == 7
assert sorted(table.protocol().writer_features) == ["appendOnly", "invariants", "quipu"]
assert table.metadata().configuration == {"quipu.format": "1"}
assert table.transaction_version("11111111-wal/live") == 4
check_rows(table, "from checkpoint 4 and commit 5")
for version, rows in [(1, 10), (3, 30), (4, 30)]:
    count = DeltaTable(samples, version=version).to_pyarrow_table().num_rows
    assert count == rows, (version, count)
print("ok: time travel to versions 1, 3 and 4")

copy = f"{root}/default/copied"
shutil.copytree(samples, copy)
for number in range(5):
    os.remove(f"{copy}/_delta_log/{number:020}.json")
check_rows(DeltaTable(copy), "without the commits that the checkpoint covers")

frame = pl.scan_delta(samples)
late = frame.filter(pl.col("metric") == "d").select(pl.len()).collect().item()
assert late == 10, late
assert pl.read_delta(samples, version=1).shape == (10, 5)
print("ok: Polars scans with a filter and reads version 1")

labels = pl.from_arrow(DeltaTable(series).to_pyarrow_table())
assert labels.shape == (2, 4) and labels["day"][0] == datetime.date(2023, 11, 14), labels
print("ok: map and date columns of series")

before = log_of(samples)
refused("OPTIMIZE", lambda: DeltaTable(samples).optimize.compact())
refused("append", lambda: write_deltalake(samples, DeltaTable(samples).to_pyarrow_table(), mode="append"))
refused("delete", lambda: DeltaTable(samples).delete("metric = 'a'"))
assert log_of(samples) == before, "a refused writer left something"
doomed = DeltaTable(samples).vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=True)
print(f"note: VACUUM is not refused; it would delete {sorted(doomed)}")
DeltaTable(copy).create_checkpoint()
print("note: checkpoints by delta-rs are not refused; the next step reads one")
