#!/bin/sh
# minio/run from nothing: bucket and user are there, the user can do what a broker does (the program given), and not more; a
# second start finds its keys and data again. minio/run is about MinIO: another S3 server (radosgw) does not do here.
set -eu
top=$(cd "$(dirname "$0")/../.." && pwd)
dir=$(mktemp -d) pid=
end() {
    [ -z "$pid" ] || { kill "$pid" 2>/dev/null || true; wait "$pid" 2>/dev/null || true; }
    rm -rf "$dir"
}
trap end EXIT
command -v minio >/dev/null 2>&1 || [ -x "$HOME/.cache/floe/minio" ] || {
    echo "no MinIO to test minio/run with: scripts/minio-install builds it where there is Go 1.24 or later, or put a minio into PATH"
    exit 1
}
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
export MINIO_DOMAIN=localhost # so that the bucket is a host name too
start() {
    rm -f "$dir/out"
    "$top/minio/run" --dir "$dir" --port "$port" --bucket floe-try >"$dir/out" 2>&1 &
    pid=$!
    for _ in $(seq 300); do
        grep -q "MinIO is ready" "$dir/out" 2>/dev/null && return
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.1
    done
    cat "$dir/out"
    echo "minio/run did not get ready"
    exit 1
}
start
. "$dir/floe.env"
export FLOE_S3_ENDPOINT="http://127.0.0.1:$port" FLOE_S3_REGION=us-east-1 S3SERVER_BUCKET=floe-try S3SERVER_KIND=minio-user
"$@"
kill "$pid"
wait "$pid" || true
start # again, on the same data
"$@"
