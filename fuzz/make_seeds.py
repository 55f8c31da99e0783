#!/usr/bin/env python3
"""Write what fuzzing begins with: small files of every kind that the targets read.

    python3 -m venv venv && venv/bin/pip install numpy safetensors tokenizers
    venv/bin/python fuzz/make_seeds.py fuzz/seeds
"""
import base64
import json
import pathlib
import sys

import numpy as np
from safetensors.numpy import save
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] | trim }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
# Templates that ask for too much, each in a way of its own.
HOSTILE = {
    "terms": "{{ a" + " + a.b | c" * 50 + " }}",
    "inside": "{{ " + "[" * 20 + "not -a" + "]" * 20 + " }}",
    "branches": "{% if a %}" + "{% elif b %}" * 50 + "{% endif %}",
    "itself": "{% set ns = namespace() %}{% set ns.a = [ns] %}{{ ns ~ 'x' }}",
    "doubled": "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = ns.l + ns.l %}{% endfor %}"
               "{{ ns.l | join }}",
    "twice": "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}"
             "{{ ns.l | tojson }}",
    "macro": "{% macro m(a, n) %}{% if n %}{{ m([a, a], n - 1) }}{% endif %}{% endmacro %}{{ m('x', 60) }}",
    "loop": "{% for x in [1] recursive %}{{ loop([[x, x]]) }}{% endfor %}",
    "sizes": "{{ 'x' * 10**9 }}{{ [1] * 10**9 }}{{ range(10**9) }}{{ 'x'.ljust(10**9) }}{{ '%999999999d' % 1 }}",
    "messages": "{{ messages | tojson(indent=999999999) }}\0" + json.dumps([{"role": "user", "content": [[["x"]]]}]),
}
SAMPLING = {
    "model": "m", "temperature": 0.5, "top_p": 0.9, "top_k": 4, "min_p": 0.1, "repeat_penalty": 1.1,
    "seed": 7, "n": 2, "stop": ["a", "b"], "max_tokens": 5, "user": "u", "stream": True,
    "stream_options": {"include_usage": True},
}
CHAT = SAMPLING | {
    "messages": [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
    ],
    "logprobs": True, "top_logprobs": 3, "frequency_penalty": 0, "tools": None,
}
COMPLETION = SAMPLING | {"prompt": ["ab", "ba"], "logprobs": 2, "best_of": 1, "echo": False}
HIDDEN, INTERMEDIATE, LAYERS, CYCLES = 8, 8, 3, 2
RANDOM = np.random.default_rng(1)


def tokenizer():
    pieces = ["<s>", "a", "b", "c", "Ġ", "ab", "Ġa", "Ã", "©"]
    bpe = models.BPE({piece: i for i, piece in enumerate(pieces)}, [("a", "b"), ("Ġ", "a")])
    tokenizer = Tokenizer(bpe)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<s>"])
    return tokenizer.to_str(), len(pieces)


def small_tokenizers():
    """Small tokenizers that have all kinds of models and components between them."""
    def add(name, model, **parts):
        every[name] = {
            "version": "1.0", "truncation": None, "padding": None, "added_tokens": [],
            "normalizer": None, "pre_tokenizer": None, "post_processor": None, "decoder": None,
        } | parts | {"model": model}

    def replace(pattern, content):
        return {"type": "Replace", "pattern": pattern, "content": content}

    every = {}
    added = {"id": 4, "content": "<s>", "single_word": False, "lstrip": True, "rstrip": True,
             "normalized": True, "special": True}
    piece = {"Sequence": {"id": "A", "type_id": 0}}
    template = {
        "type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, piece],
        "pair": [piece, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [4], "tokens": ["<s>"]}},
    }
    # A table that changes no character: the size of a tree, and a tree without leaves.
    table = base64.b64encode((1024).to_bytes(4, "little") + bytes(1024)).decode()
    level = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
    metaspace = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": True}
    add("fallback", {"type": "BPE", "vocab": {"a": 0, "b": 1, "<0x0A>": 2, "ab": 3}, "merges": [["a", "b"]],
                     "byte_fallback": True, "fuse_unk": True, "unk_token": "a", "dropout": None},
        added_tokens=[added], post_processor=template,
        normalizer={"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "▁"}, replace({"String": " "}, "▁"), {"type": "NFKC"},
            {"type": "Lowercase"}, {"type": "Strip", "strip_left": True, "strip_right": True}]},
        decoder={"type": "Sequence", "decoders": [
            replace({"String": "▁"}, " "), {"type": "ByteFallback"}, {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0}]})
    add("unigram", {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["a", -1.0], ["ab", -2.0]]},
        normalizer={"type": "Sequence", "normalizers": [
            {"type": "Precompiled", "precompiled_charsmap": table},
            replace({"Regex": " {2,}"}, "▁")]},
        pre_tokenizer={"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, metaspace]},
        decoder=metaspace)
    add("word_piece", {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                       "max_input_chars_per_word": 100, "vocab": {"[UNK]": 0, "a": 1, "##b": 2}},
        normalizer={"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                    "strip_accents": None, "lowercase": True},
        pre_tokenizer={"type": "BertPreTokenizer"},
        post_processor={"type": "BertProcessing", "sep": ["a", 1], "cls": ["a", 1]},
        decoder={"type": "WordPiece", "prefix": "##", "cleanup": True})
    add("word_level", {"type": "WordLevel", "vocab": {"a": 0, "b": 1}, "unk_token": "b"},
        pre_tokenizer={"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": "a{1,3}(?!b)"}, "behavior": "Isolated", "invert": False},
            {"type": "Digits", "individual_digits": True}, {"type": "FixedLength", "length": 3},
            {"type": "Punctuation", "behavior": "Removed"}, {"type": "UnicodeScripts"}, level]},
        post_processor={"type": "Sequence", "processors": [level, template]},
        decoder={"type": "CTC", "pad_token": "b", "word_delimiter_token": "|", "cleanup": True})
    beside = {"bos_token": "<s>", "extra_special_tokens": ["<x>"],
              "added_tokens_decoder": {"5": {"content": "<y>", "special": True}}}
    every["files"] = {"tokenizer.json": every["fallback"], "tokenizer_config.json": beside,
                      "special_tokens_map.json": {"eos_token": {"content": "</s>"}},
                      "added_tokens.json": {"<z>": 9}, "config.json": {"model_type": "llama"}}
    return {name: json.dumps(value, ensure_ascii=False) for name, value in every.items()}


def llama(vocab):
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
        "hidden_size": HIDDEN, "intermediate_size": INTERMEDIATE, "num_hidden_layers": LAYERS,
        "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 4, "vocab_size": vocab,
        "max_position_embeddings": 8, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "tie_word_embeddings": True,
    }
    shapes = {"model.embed_tokens": (vocab, HIDDEN), "model.norm": (HIDDEN,)}
    for i in range(LAYERS):
        shapes |= {
            f"model.layers.{i}.{name}": shape
            for name, shape in {
                "input_layernorm": (HIDDEN,), "post_attention_layernorm": (HIDDEN,),
                "self_attn.q_proj": (8, HIDDEN), "self_attn.k_proj": (4, HIDDEN),
                "self_attn.v_proj": (4, HIDDEN), "self_attn.o_proj": (HIDDEN, 8),
                "mlp.gate_proj": (INTERMEDIATE, HIDDEN), "mlp.up_proj": (INTERMEDIATE, HIDDEN),
                "mlp.down_proj": (HIDDEN, INTERMEDIATE),
            }.items()
        }
    tensors = {f"{name}.weight": normals(shape) for name, shape in shapes.items()}
    return config, tensors


def ztt(vocab):
    config, tensors = llama(vocab)
    config |= {
        "architectures": ["ZttForCausalLM"], "model_type": "ztt", "base_model_type": "llama",
        "ztt": {"head_layers": 1, "tail_layers": 1, "cycles": CYCLES, "zero_token_scope": "middle",
                "exit": {"threshold": 0.4, "min_cycles": 1, "reduce": "mean", "kv": "share"}},
    }
    tensors["zero_token_pool.key"] = normals((CYCLES, 1, 4))
    return config, tensors


def gpt2(vocab):
    config = {
        "architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "n_embd": HIDDEN, "n_head": 2,
        "n_layer": 1, "n_positions": 8, "vocab_size": vocab, "activation_function": "gelu_new",
    }
    shapes = {"wte.weight": (vocab, HIDDEN), "wpe.weight": (8, HIDDEN)}
    widths = {"attn.c_attn": 3 * HIDDEN, "attn.c_proj": HIDDEN, "mlp.c_fc": 4 * HIDDEN}
    for name, width in widths.items():
        shapes |= {f"h.0.{name}.weight": (HIDDEN, width), f"h.0.{name}.bias": (width,)}
    shapes |= {"h.0.mlp.c_proj.weight": (4 * HIDDEN, HIDDEN), "h.0.mlp.c_proj.bias": (HIDDEN,)}
    for norm in ["h.0.ln_1", "h.0.ln_2", "ln_f"]:
        shapes |= {f"{norm}.weight": (HIDDEN,), f"{norm}.bias": (HIDDEN,)}
    return config, {name: normals(shape) for name, shape in shapes.items()}


def normals(shape):
    return RANDOM.standard_normal(shape).astype(np.float16)


def main(folder):
    text, vocab = tokenizer()

    def write(target, name, data):
        path = folder / target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data if isinstance(data, bytes) else data.encode())

    write("tokenizer", "bpe", text)
    for name, small in small_tokenizers().items():
        write("tokenizer", name, small)
    shards = {"a.weight": "model-00001-of-00002.safetensors", "b.weight": "model-00002-of-00002.safetensors"}
    write("index", "two", json.dumps({"metadata": {"total_size": 64}, "weight_map": shards}))
    write("chat_template", "chatml", TEMPLATE)
    for name, template in HOSTILE.items():
        write("chat_template", name, template)
    write("request", "chat", json.dumps(CHAT))
    write("request", "completion", json.dumps(COMPLETION))
    for make in [llama, ztt, gpt2]:
        config, tensors = make(vocab)
        config = json.dumps(config)
        texts = {
            "config.json": config, "tokenizer.json": text,
            "tokenizer_config.json": json.dumps({"chat_template": TEMPLATE, "bos_token": "<s>"}),
        }
        write("config", make.__name__, config)
        write("safetensors", make.__name__, save(tensors))
        write("model", make.__name__, save(tensors, texts))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
