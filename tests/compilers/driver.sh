#!/usr/bin/env bash
# Unpacks AMD's Vulkan driver and its libraries into a folder; nothing is installed. They are Mesa
# 25.0 from Debian 12's backports; newer ones (26.1) cannot stand for a card that is not there. With
# a driver in the folder already, nothing is done.
#
#     tests/compilers/driver.sh FOLDER
#
# FOLDER/lib then holds the libraries, and FOLDER/radeon.json describes the driver to a Vulkan
# loader.
set -euo pipefail

fail() {
    echo "error: no driver: $*" >&2
    exit 2
}

[ $# -eq 1 ] || fail "expected a folder"
mkdir -p "$1" || fail "cannot make the folder \`$1\`"
folder=$(cd "$1" && pwd)
[ ! -e "$folder/radeon.json" ] || exit 0

suite=bookworm
# Of the backports; the loader is of the release itself.
packages=(mesa-vulkan-drivers mesa-libgallium libdrm2 libdrm-amdgpu1 libvulkan1)

[ "$(uname -m)" = x86_64 ] || fail "it is brought for x86_64 alone"
for tool in apt-get dpkg-deb ldd; do
    command -v "$tool" >/dev/null || fail "\`$tool\` is missing; Debian 12 has it"
done

# The mirror that this machine already uses, with lists of its own.
mirror=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME)' 'Created-By: Packages' |
    awk -v suite="$suite" '$2 == suite { print $1; exit }')
[ -n "$mirror" ] || fail "apt knows no mirror of Debian 12 ($suite)"
keys=/usr/share/keyrings/debian-archive-keyring.gpg
[ -e "$keys" ] || fail "\`$keys\` is missing"
mkdir -p "$folder"/{lists/partial,cache/archives/partial,packages,root,lib}
for release in "$suite-backports" "$suite"; do
    echo "deb [signed-by=$keys] $mirror $release main"
done >"$folder/sources.list"
options=(
    -qq
    -o "Dir::State::Lists=$folder/lists"
    -o "Dir::Cache=$folder/cache"
    -o "Dir::Etc::sourcelist=$folder/sources.list"
    -o Dir::Etc::sourceparts=-
    # Packages are fetched as this user, who owns the folder.
    -o APT::Sandbox::User="$(id -un)"
)
apt-get "${options[@]}" update >&2 || fail "apt cannot read the lists of \`$mirror\`"
(cd "$folder/packages" &&
    apt-get "${options[@]}" -t "$suite-backports" download "${packages[@]}" >&2) ||
    fail "apt cannot download ${packages[*]}"
for package in "$folder"/packages/*.deb; do
    dpkg-deb -x "$package" "$folder/root" || fail "\`$package\` cannot be unpacked"
done
cp -a "$folder"/root/usr/lib/x86_64-linux-gnu/. "$folder/lib"

driver=$folder/lib/libvulkan_radeon.so
[ -e "$driver" ] || fail "the packages have no \`$(basename "$driver")\`"
missing=$(LD_LIBRARY_PATH=$folder/lib ldd "$driver" | awk '/not found/ { print $1 }')
[ -z "$missing" ] || fail "libraries are missing, install mesa-vulkan-drivers for them:" $missing
rm -rf "$folder"/{lists,cache,packages,root,sources.list}
# Last, as it says that all the rest is there.
printf '{"file_format_version":"1.0.0","ICD":{"library_path":"%s","api_version":"1.4.305"}}\n' \
    "$driver" >"$folder/radeon.json"
