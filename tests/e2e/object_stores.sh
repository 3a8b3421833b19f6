#!/usr/bin/env bash
# Our object-store handle against a real S3 server (moto), over HTTP.
# Usage: tests/e2e/object_stores.sh [moto_server]
set -euo pipefail
cd "$(dirname "$0")/../.."
moto=${1:-}
if [ -z "$moto" ]; then
  venv=target/moto-venv
  [ -x "$venv/bin/python" ] || python3 -m venv "$venv"
  if ! "$venv/bin/pip" install -q 'moto[server]>=5.2'; then
    echo "SKIPPED: moto cannot be installed; nothing was checked" >&2
    exit 77
  fi
  moto=$venv/bin/moto_server
fi
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
export QUIPU_TEST_S3=http://127.0.0.1:$port
"$moto" -H 127.0.0.1 -p "$port" >/dev/null 2>&1 &
server=$!
trap 'kill "$server"' EXIT
for _ in $(seq 50); do
  curl -fsS -X PUT "$QUIPU_TEST_S3/quipu" >/dev/null 2>&1 && break
  sleep 0.2
done
cargo test --locked --lib -q runtime::objects::tests::s3_keeps_the_contract -- --ignored
