#!/usr/bin/env python3
"""Pack a checkpoint folder into one .safetensors file that carries its own JSON files.

The tensors are those of FOLDER/model.safetensors, byte for byte; the header's
__metadata__ also holds the texts of config.json, tokenizer.json,
tokenizer_config.json and generation_config.json (minified), each under its
file name. Needs only the standard library:

    python3 src/model/builtin/make.py FOLDER src/model/builtin/ztt-classics.safetensors
"""
import argparse
import json
import pathlib
import struct

FILES = ["config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"]


def minify(value) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def main() -> None:
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("folder", type=pathlib.Path)
    args.add_argument("out", type=pathlib.Path)
    args = args.parse_args()

    source = (args.folder / "model.safetensors").read_bytes()
    (length,) = struct.unpack_from("<Q", source)
    header = json.loads(source[8 : 8 + length])
    metadata = dict(header.pop("__metadata__", {}))
    for name in FILES:
        text = (args.folder / name).read_text(encoding="utf-8")
        metadata[name] = minify(json.loads(text))

    packed = minify({"__metadata__": metadata, **header}).encode("utf-8")
    packed += b" " * (-len(packed) % 8)  # the tensor data starts at a multiple of 8
    args.out.write_bytes(struct.pack("<Q", len(packed)) + packed + source[8 + length :])
    print(f"wrote {args.out}: {len(header)} tensors, {args.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
