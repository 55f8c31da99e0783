"""A Zero Token Transformer in PyTorch: small enough to read, whole enough to train.

`h` head layers, then `m` middle layers `N` times over, then `t` tail layers: `h + N m + t`
*effective layers*. Every attention of an effective layer also sees its zero token, a trained key
without a position and with a zero value (or a trained one). The softmax weight on it is the *zero
attention*; its mean over the heads and layers of a cycle is the cycle's score.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from blocks import Gpt2Block, LlamaBlock
from config import parse


@dataclass
class Output:
    logits: torch.Tensor  # [batch, positions, vocab]
    scores: torch.Tensor | None  # [batch, positions, cycles]; None without a pool
    early: torch.Tensor | None  # logits of an earlier cycle, see `forward`


class ZeroTokenTransformer(nn.Module):
    def __init__(self, config):
        """`config`: what config.json says, of a ZTT or of a plain checkpoint."""
        super().__init__()
        self.config = config
        self.c = c = parse(config)
        if c.family == "gpt2":
            self.transformer = nn.ModuleDict({
                "wte": nn.Embedding(c.vocab, c.hidden),
                "wpe": nn.Embedding(c.positions, c.hidden),
                "h": nn.ModuleList(Gpt2Block(c) for _ in range(c.layers)),
                "ln_f": nn.LayerNorm(c.hidden, c.norm_eps),
            })
        else:
            self.model = nn.ModuleDict({
                "embed_tokens": nn.Embedding(c.vocab, c.hidden),
                "layers": nn.ModuleList(LlamaBlock(c) for _ in range(c.layers)),
                "norm": nn.RMSNorm(c.hidden, c.norm_eps),
            })
        if not c.tied:
            self.lm_head = nn.Linear(c.hidden, c.vocab, bias=False)
        self.zero_token_pool = None
        # The factor of the exponential of every zero token's score. Checkpoints know no such
        # factor: training a new pool raises it from 0, and ends at 1.
        self.zero_gate = 1.0
        for parameter in self.parameters():
            if parameter.dim() == 2:
                nn.init.normal_(parameter, std=0.02)

    @property
    def layers(self):
        return self.transformer["h"] if self.c.family == "gpt2" else self.model["layers"]

    def add_pool(self, heads=None, value=False):
        """Zero tokens with the key 0: every query gives them the score 0."""
        c = self.c
        middle = c.cycles * c.middle
        if c.index == "cycle":
            rows = c.cycles
        else:
            rows = middle if c.scope == "middle" else c.head + middle + c.tail
        shape = (rows, heads or c.kv_heads, c.head_dim)
        names = ["key", "value"] if value else ["key"]
        device = next(self.parameters()).device
        self.zero_token_pool = nn.ParameterDict(
            {name: nn.Parameter(torch.zeros(shape, device=device)) for name in names}
        )

    def forward(self, ids, cycles=None, early=None):
        """`ids` [batch, positions]. `cycles` runs as if the model had so many; `early` also gives
        the logits of the tail run straight after so many."""
        c = self.c
        x = self.embed(ids)
        for i in range(c.head):
            x, _ = self.layer(x, i, i, None)
        scores, early_logits = [], None
        for cycle in range(cycles or c.cycles):
            of_layers = []
            for j in range(c.middle):
                e = c.head + cycle * c.middle + j
                x, zero_attention = self.layer(x, e, c.head + j, cycle)
                of_layers.append(zero_attention)
            if self.zero_token_pool is not None:
                scores.append(torch.stack(of_layers).mean(dim=(0, 2)))
            if cycle + 1 == early:
                early_logits = self.finish(x)
        scores = torch.stack(scores, dim=-1) if scores else None
        return Output(self.finish(x), scores, early_logits)

    def embed(self, ids):
        if self.c.family == "gpt2":
            positions = torch.arange(ids.shape[1], device=ids.device)
            return self.transformer["wte"](ids) + self.transformer["wpe"](positions)
        return self.model["embed_tokens"](ids)

    def layer(self, x, e, layer, cycle):
        """Effective layer `e`, which is parameter layer `layer`; `cycle` is None outside the
        cycles. Returns the residual stream and the zero attention [batch, heads, positions]."""
        block = self.layers[layer]
        q, k, v = block.qkv(x)
        attended, zero_attention = attend(q, k, v, *self.zero_token(e, cycle), self.zero_gate)
        x = x + block.project(attended)
        return x + block.feed_forward(x), zero_attention

    def zero_token(self, e, cycle):
        """Key and value, each [query heads, head_dim], or None where there is none."""
        c, pool = self.c, self.zero_token_pool
        outside = cycle is None and (c.scope == "middle" or c.index == "cycle")
        if pool is None or outside:
            return None, None
        if c.index == "cycle":
            row = cycle
        else:
            row = e - c.head if c.scope == "middle" else e
        groups = c.heads // pool["key"].shape[1]
        key = pool["key"][row].repeat_interleave(groups, dim=0)
        value = pool["value"][row].repeat_interleave(groups, dim=0) if "value" in pool else None
        return key, value

    def finish(self, x):
        """The tail, the last norm and the logits."""
        c = self.c
        for k in range(c.tail):
            e = c.head + c.cycles * c.middle + k
            x, _ = self.layer(x, e, c.head + c.middle + k, None)
        if c.family == "gpt2":
            norm, embedding = self.transformer["ln_f"], self.transformer["wte"]
        else:
            norm, embedding = self.model["norm"], self.model["embed_tokens"]
        return F.linear(norm(x), embedding.weight if c.tied else self.lm_head.weight)

    @classmethod
    def load(cls, folder):
        """A checkpoint folder, its weights widened to float32. Returns the model and the type
        that the embedding is stored in."""
        folder = Path(folder)
        model = cls(json.loads((folder / "config.json").read_text()))
        with safe_open(folder / "model.safetensors", "pt") as file:
            stored = {name: file.get_tensor(name) for name in file.keys()}
        if model.c.family == "gpt2":
            # The public checkpoint leaves the prefix out.
            prefixes = ("transformer.", "lm_head.", "zero_token_pool.")
            stored = {
                name if name.startswith(prefixes) else f"transformer.{name}": tensor
                for name, tensor in stored.items()
            }
        if "zero_token_pool.key" in stored:
            n_heads = stored["zero_token_pool.key"].shape[1]
            model.add_pool(n_heads, value="zero_token_pool.value" in stored)
        # Tensors that older checkpoints carry and no forward pass needs, or that are tied.
        unused = (".attn.bias", ".attn.masked_bias", ".rotary_emb.inv_freq", "lm_head.weight")
        missing, unknown = model.load_state_dict(stored, strict=False)
        unknown = [name for name in unknown if not name.endswith(unused)]
        if missing or unknown:
            raise ValueError(f"{folder}: tensors missing {missing}, not known {unknown}")
        embedding = "transformer.wte" if model.c.family == "gpt2" else "model.embed_tokens"
        return model, stored[f"{embedding}.weight"].dtype

    def save(self, folder, dtype):
        """config.json and model.safetensors."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(self.config, indent=2) + "\n")
        tensors = {name: t.to("cpu", dtype) for name, t in self.state_dict().items()}
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def attend(q, k, v, zero_key, zero_value, zero_gate):
    """Causal attention that also sees a zero token. Returns [batch, positions, heads * head_dim]
    and the weight on the zero token, [batch, heads, positions], or None where there is none."""
    groups = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(groups, dim=1), v.repeat_interleave(groups, dim=1)
    scale = q.shape[-1] ** -0.5
    later = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool, device=q.device).triu(1)
    s = (scale * q @ k.transpose(-2, -1)).masked_fill(later, float("-inf"))
    if zero_key is None:
        out, zero_attention = s.softmax(-1) @ v, None
    else:
        log_gate = math.log(zero_gate) if zero_gate > 0 else float("-inf")
        s_0 = scale * torch.einsum("bhtd,hd->bht", q, zero_key) + log_gate
        p = torch.cat([s_0.unsqueeze(-1), s], dim=-1).softmax(-1)
        zero_attention = p[..., 0]
        out = p[..., 1:] @ v
        if zero_value is not None:
            out = out + p[..., :1] * zero_value.unsqueeze(1)
    return out.transpose(1, 2).flatten(2), zero_attention
