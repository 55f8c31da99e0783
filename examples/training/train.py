"""Trains a Zero Token Transformer on a text, from nothing or from a converted checkpoint.

The loss has three parts: the next token at full depth; the next token where the tail follows
straight after an earlier cycle, so that leaving there costs little; and the score of that cycle
against how well its logits do for those at full depth, so that the score says when to leave.
"""

import argparse
import shutil
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from config import new_config
from ztt import ZeroTokenTransformer

EARLY_WEIGHT = 0.1
SCORE_WEIGHT = 0.3
# The divergence, in nats, at which a cycle's score should be 1/e.
SCORE_SCALE = 0.06


def losses(model, ids, early):
    """The loss of `ids` [batch, positions], and the part of it at full depth, in nats a token.
    `early`: the earlier cycle that takes part, or None."""
    output = model(ids[:, :-1], early=early)
    next_ids = ids[:, 1:].flatten()
    full = F.cross_entropy(output.logits.flatten(0, 1), next_ids)
    loss = full
    if early is not None:
        loss = loss + EARLY_WEIGHT * F.cross_entropy(output.early.flatten(0, 1), next_ids)
    # While new zero tokens come in their attention says nothing.
    if early is not None and output.scores is not None and model.zero_gate == 1.0:
        with torch.no_grad():
            p, q = output.logits.log_softmax(-1), output.early.log_softmax(-1)
            wanted = torch.exp(-(p.exp() * (p - q)).sum(-1) / SCORE_SCALE)
        score = output.scores[..., early - 1].clamp(1e-6, 1 - 1e-6)
        loss = loss + SCORE_WEIGHT * F.binary_cross_entropy(score, wanted.clamp(0, 1))
    return loss, full


def fit(model, ids, steps, batch, context, lr, gate_steps=0):
    """Trains on random windows of `ids`. Yields (step, loss at full depth). `gate_steps`: the steps
    over which the gate of new zero tokens opens."""
    matrices = [p for p in model.parameters() if p.dim() == 2]
    others = [p for p in model.parameters() if p.dim() != 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.95))
    warmup = max(1, steps // 20)
    rise = torch.optim.lr_scheduler.LinearLR(optimizer, 1 / warmup, total_iters=warmup)
    fall = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, steps - warmup), 0.05 * lr)
    schedule = torch.optim.lr_scheduler.SequentialLR(optimizer, [rise, fall], [warmup])
    device = next(model.parameters()).device
    model.train()
    for step in range(1, steps + 1):
        model.zero_gate = min(1.0, (step - 1) / gate_steps) if gate_steps else 1.0
        starts = torch.randint(len(ids) - context, (batch,))
        windows = torch.stack([ids[i : i + context + 1] for i in starts]).to(device)
        early = 1 + step % (model.c.cycles - 1) if model.c.cycles > 1 else None
        loss, full = losses(model, windows, early)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        yield step, full.item()
    model.zero_gate = 1.0


@torch.no_grad()
def validate(model, ids, context):
    """Nats a token after each number of cycles, and the mean score of each cycle."""
    model.eval()
    device = next(model.parameters()).device
    windows = ids.unfold(0, context + 1, context)[:16].to(device)
    nats, scores = [], []
    for cycles in range(1, model.c.cycles + 1):
        output = model(windows[:, :-1], cycles=cycles)
        loss = F.cross_entropy(output.logits.flatten(0, 1), windows[:, 1:].flatten())
        nats.append(loss.item())
        if output.scores is not None:
            scores.append(output.scores[..., -1].mean().item())
    model.train()
    return nats, scores


def new_tokenizer(text, vocab):
    """A byte-level BPE of `text`."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=vocab, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator([text], trainer)
    return tokenizer


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--text", type=Path, required=True, help="its last tenth is kept back")
    parser.add_argument("--out", type=Path, required=True, help="the checkpoint folder to write")
    parser.add_argument("--model", type=Path, help="fine-tune this checkpoint folder")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch", type=int, default=8, help="windows a step")
    parser.add_argument("--context", type=int, default=128, help="tokens a window")
    parser.add_argument("--lr", type=float, help="default 3e-3, or 1e-4 for --model")
    parser.add_argument("--seed", type=int, default=1)
    shape = parser.add_argument_group("the shape of a new model")
    shape.add_argument("--vocab", type=int, default=512)
    shape.add_argument("--hidden", type=int, default=128)
    shape.add_argument("--heads", type=int, default=4)
    shape.add_argument("--head", type=int, default=1)
    shape.add_argument("--middle", type=int, default=2)
    shape.add_argument("--tail", type=int, default=1)
    shape.add_argument("--cycles", type=int, default=3)
    return parser.parse_args()


def main():
    args = arguments()
    torch.manual_seed(args.seed)
    text = args.text.read_text()
    if args.model:
        tokenizer = Tokenizer.from_file(str(args.model / "tokenizer.json"))
        model, dtype = ZeroTokenTransformer.load(args.model)
    else:
        tokenizer = new_tokenizer(text, args.vocab)
        names = ("hidden", "heads", "head", "middle", "tail", "cycles")
        shape = {name: getattr(args, name) for name in names}
        config = new_config(tokenizer.get_vocab_size(), 2 * args.context, **shape)
        model, dtype = ZeroTokenTransformer(config), torch.float32
    # The tokens of a converted checkpoint never saw a zero token.
    gate_steps = args.steps // 2 if args.model and model.zero_token_pool is None else 0
    if model.zero_token_pool is None:
        model.add_pool()
    model.to("cuda" if torch.cuda.is_available() else "cpu")

    ids = torch.tensor(tokenizer.encode(text, add_special_tokens=False).ids)
    n_train = len(ids) * 9 // 10
    if len(ids) - n_train <= args.context:
        least = 10 * args.context
        raise SystemExit(f"{args.text}: expected more than {least} tokens, found {len(ids)}")

    def report(step, loss):
        figures = validate(model, ids[n_train:], args.context)
        nats, scores = (" ".join(f"{x:.3f}" for x in values) for values in figures)
        print(f"{step:5}  {loss:10}  {nats}  {scores}  {time.time() - start:.0f} s", flush=True)

    start = time.time()
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters, {n_train} tokens")
    print(" step  train loss  validation after each cycle, mean score of each")
    model.zero_gate = 0.0 if gate_steps else 1.0
    report(0, "")
    lr = args.lr or (1e-4 if args.model else 3e-3)
    steps = fit(model, ids[:n_train], args.steps, args.batch, args.context, lr, gate_steps)
    for step, loss in steps:
        if step % max(1, args.steps // 6) == 0 and step < args.steps:
            report(step, f"{loss:.3f}")
    report(step, f"{loss:.3f}")

    model.save(args.out, dtype)
    tokenizer.save(str(args.out / "tokenizer.json"))
    for name in ("tokenizer_config.json", "generation_config.json", "chat_template.jinja"):
        if args.model and (args.model / name).exists():
            shutil.copy(args.model / name, args.out)


if __name__ == "__main__":
    main()
