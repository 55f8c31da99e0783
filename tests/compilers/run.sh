#!/usr/bin/env bash
# Compiles every pipeline that the engine makes with AMD's Vulkan driver, without a card, and holds
# the results to docs/compilers.md. Results go to standard output, broken promises to standard
# error; status 1 says that there are some, 2 that nothing could be told.
#
#     tests/compilers/run.sh [FOLDER]
#
# FOLDER keeps the driver and the pipelines for the next time; without it they are thrown away.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

fail() {
    echo "error: $*" >&2
    exit 2
}

if [ $# -gt 0 ]; then
    mkdir -p "$1" || fail "cannot make the folder \`$1\`"
    work=$(cd "$1" && pwd)
else
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
fi

"$here/driver.sh" "$work/driver"

# Those of an earlier run may be of kernels that are gone.
rm -rf "$work/pipelines"
mkdir "$work/pipelines"
(cd "$here/../.." && ZTT_WRITE_PIPELINES=$work/pipelines \
    cargo test --quiet --test suite -- portability::write_pipelines) >&2 ||
    fail "the test suite has not written the pipelines"
[ -s "$work/pipelines/pipelines.jsonl" ] ||
    fail "the test suite has written no pipelines.jsonl"

# Beside the project's own, which git ignores.
target=${CARGO_TARGET_DIR:-$here/../../target}/compilers
cargo build --quiet --locked --manifest-path "$here/Cargo.toml" --target-dir "$target" ||
    fail "the program does not build"

# The program alone sees the driver. Its cache would hide what is asked for.
export LD_LIBRARY_PATH=$work/driver/lib VK_DRIVER_FILES=$work/driver/radeon.json
export VK_ICD_FILENAMES=$VK_DRIVER_FILES MESA_SHADER_CACHE_DISABLE=true
export XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR:-$work}
status=0
timeout 600 "$target/debug/ztt-wgpu-compilers" "$work/pipelines" || status=$?
[ "$status" -ne 124 ] || fail "the compiler has not ended within 10 minutes"
exit "$status"
