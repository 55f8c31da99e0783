#!/usr/bin/env python3
"""Write what fuzzing begins with: small files of every kind that the targets read.

    python3 -m venv venv && venv/bin/pip install numpy safetensors tokenizers
    venv/bin/python fuzz/make_seeds.py fuzz/seeds
"""
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
