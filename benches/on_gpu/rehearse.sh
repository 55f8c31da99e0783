#!/usr/bin/env bash
# Rehearses run.sh on llvmpipe where nothing of this machine helps: rehearse.sh PACKED ROOT
#
# PACKED is what pack.sh made. ROOT becomes a bare Debian 12 with Mesa's driver and python3, made by
# debootstrap, as root; the Vulkan loader is taken away again. First the driver is hidden, which must end
# in one line. Then everything runs, and one step is killed on purpose. The page is ROOT/out/report.md.
set -euo pipefail
if [ $# -ne 2 ]; then
    echo "usage: $0 PACKED ROOT" >&2
    exit 2
fi
packed=$1 root=$2
if [ ! -e "$root/usr/share/vulkan/icd.d" ]; then
    debootstrap --variant=minbase --include=mesa-vulkan-drivers,python3 bookworm "$root" >&2
    rm "$root"/usr/lib/x86_64-linux-gnu/libvulkan.so.*
    chroot "$root" ldconfig
fi
rm -rf "$root"/{packed,out,hidden}
cp -r "$packed" "$root/packed"

mv "$root/usr/share/vulkan" "$root/hidden"
set +e
line=$(chroot "$root" /packed/run.sh /out 2>&1)
status=$?
set -e
mv "$root/hidden" "$root/usr/share/vulkan"
echo "without a driver: status $status, $line"
if [ $status -ne 1 ] || [ "$(wc -l <<<"$line")" -ne 1 ]; then
    echo "rehearse.sh: expected status 1 and one line" >&2
    exit 1
fi

# A driver that crashes looks like this.
(until pkill -KILL -f '^/[^ ]*/packed/suite ::workgroup'; do sleep 0.2; done) &
killer=$!
trap 'kill $killer 2>/dev/null || true' EXIT
start=$SECONDS
chroot "$root" /packed/run.sh /out --synthetic tiny,135m
echo "took $((SECONDS - start)) s"
if ! grep -q 'class workgroup.killed by signal 9' "$root/out/steps.tsv"; then
    echo "rehearse.sh: expected a step that was killed" >&2
    exit 1
fi
