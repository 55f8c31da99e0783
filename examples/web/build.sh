#!/usr/bin/env bash
# Builds the page into examples/web/dist. Needs the target wasm32-unknown-unknown and wasm-bindgen.
set -euo pipefail
cd "$(dirname "$0")"
rm -rf dist
cargo build --profile web --target wasm32-unknown-unknown
wasm-bindgen --target web --no-typescript --remove-name-section --out-dir dist \
    ../../target/wasm32-unknown-unknown/web/ztt_wgpu_web.wasm
cp page/* dist/
cp ../../src/page.css dist/look.css
