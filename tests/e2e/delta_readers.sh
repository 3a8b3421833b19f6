#!/usr/bin/env bash
# Reads tables that our code wrote with delta-rs and Polars, and checks that foreign writers are refused.
# Usage: tests/e2e/delta_readers.sh [python]    (a python with deltalake >= 1.6 and polars; else a venv is made)
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${1:-}
if [ -z "$python" ]; then
  venv=target/delta-venv
  [ -x "$venv/bin/python" ] || python3 -m venv "$venv"
  if ! "$venv/bin/pip" install -q 'deltalake>=1.6,<2' polars pyarrow duckdb; then
    echo "SKIPPED: deltalake cannot be installed; nothing was checked" >&2
    exit 77
  fi
  python=$venv/bin/python
fi
interop=store::catalog::tests::interop
cargo test --locked --lib -q "$interop::write_tables_for_other_readers" -- --ignored
"$python" tests/e2e/delta_readers.py target/delta-interop
cargo test --locked --lib -q store::tests::logs::write_logs_for_other_readers -- --ignored
"$python" tests/e2e/log_readers.py target/logs-interop
cargo test --locked --lib -q store::tests::histograms::write_histograms_for_other_readers -- --ignored
"$python" tests/e2e/histogram_readers.py target/histograms-interop
cargo test --locked --lib -q "$interop::read_a_checkpoint_of_delta_rs" -- --ignored
echo "all ok"
