#!/usr/bin/env bash
# Tests and measures this engine on the machine's GPU, in at most eight minutes:
#
#     run.sh OUT [--synthetic SHAPES] [--minutes N]
#
# Bring the folder that pack.sh made (run.sh, packed.tar.gz, report.py), nothing else. The machine must
# have a Vulkan driver, that is a library and the JSON file that names it; where the file is missing, one
# is written for NVIDIA's library. A Vulkan loader (libvulkan.so.1) is taken out of the packed archive if
# the system has none, and so are the libraries of libglvnd that NVIDIA's driver wants. bash, coreutils, tar
# and gzip do the rest; python3 makes the table at the end, with report.py, which also runs elsewhere on a
# copy of OUT.
#
# SHAPES are what `ztt-wgpu bench --synthetic` knows (135m,1b,3b); the last but one of them, or the only
# one, stands for the model whose kernels are looked at. OUT gets five files, each complete before the
# next step begins:
#
#     machine.json   what `ztt-wgpu devices --json` says
#     steps.tsv      step, result, seconds, note
#     reports.tsv    step, report of `bench` or `microbench` as JSON
#     log.txt        everything that was printed
#     report.md      the table
set -uo pipefail

here=$(cd "$(dirname "$0")" && pwd)
usage() {
    echo "usage: $0 OUT [--synthetic SHAPES] [--minutes N]" >&2
    exit 2
}
fail() {
    echo "run.sh: $1" >&2
    exit 1
}

out= shapes=135m,1b,3b minutes=8
while [ $# -gt 0 ]; do
    case $1 in
        --synthetic) shapes=${2:-} && shift 2 || usage ;;
        --minutes) minutes=${2:-} && shift 2 || usage ;;
        -*) usage ;;
        *) [ -z "$out" ] && out=$1 && shift || usage ;;
    esac
done
[ -n "$out" ] && [ -n "$shapes" ] && [[ $minutes =~ ^[1-9][0-9]*$ ]] || usage
mkdir -p "$out" && out=$(cd "$out" && pwd) || exit 1
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
end=$((SECONDS + 60 * minutes - 10)) # the table and what a killed step takes
bin=$work/packed
mkdir "$bin" && tar -C "$bin" -xzf "$here/packed.tar.gz" || fail "packed.tar.gz: expected what pack.sh packs"
IFS=, read -ra shapes <<<"$shapes"
main=${shapes[$((${#shapes[@]} > 1 ? ${#shapes[@]} - 2 : 0))]}

# The loader, and what stands between it and the driver: only what the system lacks.
installed=$(ldconfig -p 2>/dev/null || /sbin/ldconfig -p 2>/dev/null)
mkdir "$work/lib"
for library in "$bin"/loader/*.so.[0-9]; do
    name=${library##*/}
    case $installed in *"$name "*) ;; *) ln -s "$library" "$work/lib/$name" ;; esac
done
libraries=$work/lib
for folder in /usr/local/nvidia/lib64 /usr/lib/nvidia; do
    [ -d "$folder" ] && libraries+=:$folder
done
export LD_LIBRARY_PATH=$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}

# The driver.
if [ -z "${VK_DRIVER_FILES:-}${VK_ICD_FILENAMES:-}" ]; then
    standard=(/etc/vulkan/icd.d /usr/share/vulkan/icd.d /usr/local/share/vulkan/icd.d /usr/local/etc/vulkan/icd.d)
    other=(/usr/local/nvidia/share/vulkan/icd.d /opt/amdgpu/share/vulkan/icd.d)
    files_in() { find "$@" -name '*.json' 2>/dev/null; }
    found=$(files_in "${standard[@]}")
    # Beside a software driver alone, a GPU's may lie elsewhere.
    found=$(files_in "${other[@]}")${found:+$'\n'$found}
    if ! grep -q nvidia <<<"$found" && [[ $installed == *libGLX_nvidia.so.0* ]]; then
        cat >"$work/nvidia_icd.json" <<'JSON'
{"file_format_version": "1.0.1", "ICD": {"library_path": "libGLX_nvidia.so.0", "api_version": "1.3.0"}}
JSON
        found=$work/nvidia_icd.json${found:+$'\n'$found}
    fi
    [ -n "${found//[[:space:]]/}" ] || fail "no Vulkan driver: expected its .json file in ${standard[0]} or ${standard[1]}, found none"
    VK_DRIVER_FILES=$(grep . <<<"$found" | paste -sd:)
    export VK_DRIVER_FILES VK_ICD_FILENAMES=$VK_DRIVER_FILES
fi

export XDG_RUNTIME_DIR=$work XDG_CACHE_HOME=$work HOME=$work
export CARGO_MANIFEST_DIR=$bin ZTT_GPU=require
: >"$out/steps.tsv" && : >"$out/reports.tsv" && : >"$out/log.txt" || exit 1
devices=$(timeout 30 "$bin/ztt-wgpu" devices --json 2>"$work/stderr")
status=$?
if [ $status -ne 0 ] || [ -z "${devices//[[:space:]\[\]]/}" ]; then
    fail "no adapter: the Vulkan driver of $VK_DRIVER_FILES shows none ($(tail -n 1 "$work/stderr"))"
fi
printf '%s\n' "$devices" >"$out/machine.json"
{
    echo "== machine: $(uname -srm), $(nproc) processors, commit $(cat "$here/commit" 2>/dev/null)"
    timeout 30 "$bin/ztt-wgpu" devices
} 2>&1 | tee -a "$out/log.txt"

# Seconds that are kept for the last steps while those before them run.
kept=0

# step NAME SECONDS COMMAND...: runs the command for so long at most, and writes what came of it.
step() {
    local name=$1 limit=$2 left=$((end - kept - SECONDS)) start=$SECONDS result note=
    shift 2
    if [ $left -lt 5 ]; then
        printf '%s\tleft out\t0\tno time was left\n' "$name" >>"$out/steps.tsv"
        echo "$name: left out, no time was left"
        return
    fi
    [ $limit -gt $left ] && limit=$left
    timeout --kill-after=3 "$limit" "$@" >"$work/stdout" 2>"$work/stderr" </dev/null
    local status=$?
    case $status in
        0) result=done ;;
        124) result="stopped after $limit s" ;;
        129 | 13? | 14?) result="killed by signal $((status - 128))" ;;
        *) result="failed" note="status $status: $(tail -n 1 "$work/stderr")" ;;
    esac
    case $1 in
        */suite)
            local counts=$(grep -a '^test result' "$work/stdout" | cut -d. -f2-)
            note=${counts:-$(grep -ac '\.\.\. ok$' "$work/stdout") passed before the end${note:+, $note}}
            ;;
        *) if [ -s "$work/stdout" ]; then
            { printf '%s\t' "$name" && tr -d '\n' <"$work/stdout" && echo; } >>"$out/reports.tsv"
        fi ;;
    esac
    printf '%s\t%s\t%s\t%s\n' "$name" "$result" $((SECONDS - start)) "${note//[$'\t\n']/ }" >>"$out/steps.tsv"
    { echo "== $name: $*" && cat "$work/stdout" "$work/stderr" && echo; } >>"$out/log.txt"
    sync "$out"/* 2>/dev/null
    echo "$name: $result, $((SECONDS - start)) s $note"
}

tests() { # Name, seconds, arguments of the suite.
    local name=$1 limit=$2
    shift 2
    step "tests: $name" "$limit" "$bin/suite" "$@"
}
bench() { # Name, seconds, arguments.
    local name=$1 limit=$2
    shift 2
    step "$name" "$limit" "$bin/ztt-wgpu" bench -o json --on-device "$@"
}
microbench() {
    local name=$1 limit=$2
    shift 2
    step "$name" "$limit" "$bin/ztt-wgpu" microbench -o json "$@"
}

tests "matrices and norms" 60 kernels:: --skip ::attention --skip ::sampling
tests "attention" 45 kernels::attention
tests "drawing" 20 kernels::sampling
for class in subgroup workgroup software; do
    tests "golden data, class $class" 30 "::$class" --skip kernels:: --skip models:: --skip quant::
done
bench "$main in f16" 60 --synthetic "$main" -p 512 -n 128 -r 3
microbench "what the device can do" 90 read write copy fma dispatch skipped submission pass barrier sum -r 5
microbench "kernels of $main" 60 decode prefill --synthetic "$main" --on-device -p 128 -d 512 -r 3
kept=50
for shape in "${shapes[@]}"; do
    for quant in none q8_0 q4_0; do
        bench "$shape, weights $quant" 30 --synthetic "$shape" --quant $quant -p 512 -n 32 -r 3
        bench "$shape, weights $quant, depth" 30 --synthetic "$shape" --quant $quant -p 0 -n 16 -d 4096 -r 2
    done
done
kept=20
bench "skipped cycles" 30 --synthetic "${shapes[0]}" --stored-cycles 4 -p 256 -n 32 -r 3 --interleave \
    --cycles 1,4 --exit-threshold none,0
kept=0
bench "several texts" 45 --synthetic "$main" -p 0 -n 32 -r 3 --parallel 1,2,4,8,16
if grep -q '"cooperative_matrices":\[\]' "$out/machine.json"; then
    printf 'matrix units\tleft out\t0\tthe adapter offers no cooperative matrices\n' >>"$out/steps.tsv"
    echo "matrix units: left out, the adapter offers no cooperative matrices"
else
    microbench "matrix units" 20 matrix -r 3
fi

if command -v python3 >/dev/null; then
    python3 "$here/report.py" "$out" >"$out/report.md" && echo "wrote $out/report.md"
else
    echo "python3 is missing: run report.py on a copy of $out"
fi
