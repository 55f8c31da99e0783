#!/usr/bin/env bash
# Packs a folder that measures this engine on another machine: pack.sh FOLDER
#
# The folder gets run.sh, which says how to use it there, and packed.tar.gz: the program, the tests of
# kernels and of golden data with their fixtures, and the Vulkan loader. Build on Debian 12 or older for machines
# with glibc 2.36. The loader and the libraries that drivers of NVIDIA want beside it come from
# Debian's packages, downloaded and unpacked into the folder, or else from this machine.
set -euo pipefail
if [ $# -ne 1 ]; then
    echo "usage: $0 FOLDER" >&2
    exit 2
fi
mkdir -p "$1"
folder=$(cd "$1" && pwd)
packed=$(mktemp -d)
unpacked=$(mktemp -d)
trap 'rm -rf "$packed" "$unpacked"' EXIT
cd "$(dirname "$0")/../.."

cargo build --release
suite=$(cargo test --release --test suite --no-run 2>&1 |
    tee /dev/stderr | sed -n 's/.*Executable .*(\(.*\))$/\1/p')
if [ -z "$suite" ]; then
    echo "pack.sh: cargo named no executable of the test suite" >&2
    exit 1
fi

mkdir -p "$packed/tests" "$packed/loader"
cp target/release/ztt-wgpu "$packed/ztt-wgpu"
cp "$suite" "$packed/suite"
strip "$packed/ztt-wgpu" "$packed/suite"
# All of them: the suite looks at them when it lists its tests.
cp -r tests/fixtures "$packed/tests/"

packages=(libvulkan1 libglvnd0 libglx0 libgl1 libegl1)
if (cd "$unpacked" && apt-get download -qq "${packages[@]}" >/dev/null 2>&1); then
    for package in "$unpacked"/*.deb; do
        dpkg-deb -x "$package" "$unpacked"
    done
    cp -P "$unpacked"/usr/lib/x86_64-linux-gnu/*.so.* "$packed/loader/"
else
    for library in libvulkan.so.1 libGLdispatch.so.0 libGLX.so.0 libGL.so.1 libEGL.so.1; do
        path=$(ldconfig -p | sed -n "s|.*$library .*x86-64.* => \(.*\)|\1|p" | head -1)
        if [ -n "$path" ]; then cp "$path" "$packed/loader/$library"; fi
    done
fi
if [ ! -e "$packed/loader/libvulkan.so.1" ]; then
    echo "pack.sh: no Vulkan loader to bring: the other machine must have its own" >&2
fi

tar -C "$packed" -czf "$folder/packed.tar.gz" .
cp benches/on_gpu/{run.sh,report.py} "$folder"
git describe --always --dirty >"$folder/commit" 2>/dev/null || true
kib=$(du -sk "$folder" | cut -f1)
echo "packed $folder, $((kib / 1024)).$((kib % 1024 * 10 / 1024)) MiB"
if [ "$kib" -gt $((40 * 1000 * 1000 / 1024)) ]; then
    echo "pack.sh: more than 40 MB" >&2
    exit 1
fi
