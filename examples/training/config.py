"""config.json: what it says, and a new one."""

from types import SimpleNamespace


def parse(config):
    """The fields that matter, under one name for all families."""
    ztt = config.get("ztt")
    family = config["base_model_type"] if config["model_type"] == "ztt" else config["model_type"]
    if family == "gpt2":
        hidden, heads = config["n_embd"], config["n_head"]
        c = SimpleNamespace(
            layers=config["n_layer"],
            kv_heads=heads,
            intermediate=config.get("n_inner") or 4 * hidden,
            positions=config.get("n_positions", 1024),
            norm_eps=config.get("layer_norm_epsilon", 1e-5),
            tied=config.get("tie_word_embeddings", True),
            head_dim=hidden // heads,
        )
    elif family in ("llama", "mistral", "qwen2", "qwen3"):
        hidden, heads = config["hidden_size"], config["num_attention_heads"]
        rope = config.get("rope_scaling") or config.get("rope_parameters") or {}
        kind = rope.get("rope_type", rope.get("type", "default"))
        windowed = config.get("sliding_window") and config.get("use_sliding_window", True)
        if kind != "default" or windowed:
            raise ValueError("rope scaling and sliding windows are left out of this example")
        biased = config.get("attention_bias", False)
        c = SimpleNamespace(
            layers=config["num_hidden_layers"],
            kv_heads=config.get("num_key_value_heads", heads),
            intermediate=config["intermediate_size"],
            positions=config["max_position_embeddings"],
            norm_eps=config.get("rms_norm_eps", 1e-6),
            tied=config.get("tie_word_embeddings", False),
            head_dim=config.get("head_dim") or hidden // heads,
            rope_theta=rope.get("rope_theta", config.get("rope_theta", 10_000.0)),
            qkv_bias=biased or family == "qwen2",
            o_bias=biased,
            mlp_bias=config.get("mlp_bias", False),
            qk_norm=family == "qwen3",
        )
    else:
        raise ValueError(f"expected llama, mistral, qwen2, qwen3 or gpt2, found {family}")
    c.family, c.hidden, c.heads, c.vocab = family, hidden, heads, config["vocab_size"]
    c.head = ztt["head_layers"] if ztt else c.layers
    c.tail = ztt["tail_layers"] if ztt else 0
    c.cycles = ztt["cycles"] if ztt else 1
    c.middle = c.layers - c.head - c.tail
    c.scope = (ztt or {}).get("zero_token_scope", "all")
    c.index = (ztt or {}).get("zero_token_index", "effective_layer")
    return c


def new_config(vocab, positions, hidden=128, heads=4, head=1, middle=2, tail=1, cycles=3):
    """A small LLaMA with cycled layers."""
    return {
        "architectures": ["ZttForCausalLM"],
        "model_type": "ztt",
        "base_model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": hidden,
        "intermediate_size": 8 * hidden // 3 // 16 * 16,
        "num_hidden_layers": head + middle + tail,
        "num_attention_heads": heads,
        "num_key_value_heads": heads // 2,
        "head_dim": hidden // heads,
        "vocab_size": vocab,
        "max_position_embeddings": positions,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "tie_word_embeddings": True,
        "ztt": {
            "head_layers": head,
            "tail_layers": tail,
            "cycles": cycles,
            "zero_token_scope": "all",
            "zero_token_index": "effective_layer",
        },
    }
