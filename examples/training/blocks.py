"""The blocks of the base families. Parameters have the names of the checkpoint's tensors.

A block gives queries, keys and values, [batch, heads, positions, head_dim], with the positions
encoded; it takes back what attention made of them; and it has an MLP. Each part norms its input
first and is added to the residual stream by the caller.
"""

import torch
import torch.nn.functional as F
from torch import nn


class LlamaBlock(nn.Module):
    """LLaMA, Mistral, Qwen2 and Qwen3."""

    def __init__(self, c):
        super().__init__()
        q, kv = c.heads * c.head_dim, c.kv_heads * c.head_dim
        attention = {
            "q_proj": nn.Linear(c.hidden, q, c.qkv_bias),
            "k_proj": nn.Linear(c.hidden, kv, c.qkv_bias),
            "v_proj": nn.Linear(c.hidden, kv, c.qkv_bias),
            "o_proj": nn.Linear(q, c.hidden, c.o_bias),
        }
        if c.qk_norm:
            attention["q_norm"] = nn.RMSNorm(c.head_dim, c.norm_eps)
            attention["k_norm"] = nn.RMSNorm(c.head_dim, c.norm_eps)
        self.input_layernorm = nn.RMSNorm(c.hidden, c.norm_eps)
        self.self_attn = nn.ModuleDict(attention)
        self.post_attention_layernorm = nn.RMSNorm(c.hidden, c.norm_eps)
        self.mlp = nn.ModuleDict({
            "gate_proj": nn.Linear(c.hidden, c.intermediate, c.mlp_bias),
            "up_proj": nn.Linear(c.hidden, c.intermediate, c.mlp_bias),
            "down_proj": nn.Linear(c.intermediate, c.hidden, c.mlp_bias),
        })
        self.c = c

    def qkv(self, x):
        a, x = self.self_attn, self.input_layernorm(x)
        q, k, v = (heads(a[name](x), self.c.head_dim) for name in ("q_proj", "k_proj", "v_proj"))
        if self.c.qk_norm:
            q, k = a["q_norm"](q), a["k_norm"](k)
        return rope(q, self.c.rope_theta), rope(k, self.c.rope_theta), v

    def project(self, attended):
        return self.self_attn["o_proj"](attended)

    def feed_forward(self, x):
        x = self.post_attention_layernorm(x)
        return self.mlp["down_proj"](F.silu(self.mlp["gate_proj"](x)) * self.mlp["up_proj"](x))


class Gpt2Block(nn.Module):
    """GPT-2. Its positions are added to the embeddings, not here."""

    def __init__(self, c):
        super().__init__()
        self.ln_1 = nn.LayerNorm(c.hidden, c.norm_eps)
        self.attn = nn.ModuleDict({
            "c_attn": TransposedLinear(c.hidden, 3 * c.heads * c.head_dim),
            "c_proj": TransposedLinear(c.heads * c.head_dim, c.hidden),
        })
        self.ln_2 = nn.LayerNorm(c.hidden, c.norm_eps)
        self.mlp = nn.ModuleDict({
            "c_fc": TransposedLinear(c.hidden, c.intermediate),
            "c_proj": TransposedLinear(c.intermediate, c.hidden),
        })
        self.c = c

    def qkv(self, x):
        parts = self.attn["c_attn"](self.ln_1(x)).chunk(3, dim=-1)
        return tuple(heads(part, self.c.head_dim) for part in parts)

    def project(self, attended):
        return self.attn["c_proj"](attended)

    def feed_forward(self, x):
        return self.mlp["c_proj"](F.gelu(self.mlp["c_fc"](self.ln_2(x)), approximate="tanh"))


class TransposedLinear(nn.Module):
    """A linear map whose weight is stored [in, out], as GPT-2 has it."""

    def __init__(self, n_in, n_out):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_in, n_out))
        self.bias = nn.Parameter(torch.zeros(n_out))

    def forward(self, x):
        return x @ self.weight + self.bias


def heads(x, head_dim):
    """[batch, positions, heads * head_dim] to [batch, heads, positions, head_dim]"""
    return x.unflatten(-1, (-1, head_dim)).transpose(1, 2)


def rope(x, theta):
    """The rotary embedding of [batch, heads, positions, head_dim], the two halves paired."""
    n_positions, head_dim = x.shape[-2:]
    pairs = torch.arange(0, head_dim, 2, device=x.device) / head_dim
    angles = torch.outer(torch.arange(n_positions, device=x.device), theta**-pairs)
    cos, sin = angles.cos(), angles.sin()
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)
