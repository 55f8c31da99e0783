#!/bin/sh
# Fuzz every target, or those that are named, for some seconds each, with limits on memory, on the
# time of an input and on the stack. The first finding ends it.
#
#     fuzz/run.sh [SECONDS [TARGET...]]
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-300}
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- $(cargo +nightly fuzz list)
ulimit -s 8192
for target in "$@"; do
    mkdir -p "fuzz/corpus/$target"
    cargo +nightly fuzz run "$target" "fuzz/corpus/$target" "fuzz/seeds/$target" -- \
        -max_total_time="$seconds" -rss_limit_mb=4096 -malloc_limit_mb=1024 -timeout=30 \
        -max_len=65536
done
