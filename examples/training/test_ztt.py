"""The module against outputs of independent programs: `python -m unittest` in this folder.

`golden` holds random checkpoints with the logits and scores of a double-precision program,
`families` and `gpt2-tiny` such with the logits of Hugging Face transformers.
"""

import copy
import json
import unittest
from pathlib import Path

import torch
from safetensors import safe_open

from config import new_config
from train import fit
from ztt import ZeroTokenTransformer

FIXTURES = Path(__file__).resolve().parents[2] / "tests" / "fixtures"
TOLERANCE = 1e-4


def read(file):
    with safe_open(file, "pt") as f:
        return {name: f.get_tensor(name) for name in f.keys()}, f.metadata()


def forward(model, ids, **options):
    with torch.no_grad():
        return model(ids.long().unsqueeze(0), **options)


class Agreement(unittest.TestCase):
    def assert_rows_close(self, rows, expected):
        """Relative error of each row. A NaN fails."""
        error = (rows - expected).norm(dim=-1) / expected.norm(dim=-1)
        self.assertTrue((error < TOLERANCE).all(), f"relative error {error.max():.1e}")

    def compare(self, folder):
        """Every variant without exits. Returns how many there were."""
        expected, variants = read(folder / "golden.safetensors")
        model, _ = ZeroTokenTransformer.load(folder)
        n_compared = 0
        for variant, settings in variants.items():
            settings = json.loads(settings)
            # A cap of one cycle leaves nothing to decide.
            if "threshold" in settings and settings.get("cycles") != 1:
                continue
            output = forward(model, expected["ids"], cycles=settings.get("cycles"))
            self.assert_rows_close(output.logits[0], expected[f"{variant}.logits"])
            if output.scores is not None:
                error = (output.scores[0] - expected[f"{variant}.scores"]).abs().max()
                self.assertLess(error, TOLERANCE)
            n_compared += 1
        return n_compared

    def test_golden(self):
        for folder in sorted((FIXTURES / "golden").iterdir()):
            with self.subTest(folder.name):
                self.assertGreater(self.compare(folder), 0)

    def test_families(self):
        folders = [FIXTURES / "families" / name for name in ("llama-bias", "qwen2", "qwen3")]
        for folder in [*folders, FIXTURES / "gpt2-tiny"]:
            with self.subTest(folder.name):
                expected, _ = read(folder / "expected.safetensors")
                model, _ = ZeroTokenTransformer.load(folder)
                output = forward(model, expected["ids"])
                self.assert_rows_close(output.logits[0], expected["logits"])

    def test_negative_control(self):
        folder = FIXTURES / "golden" / "llama-key-only"
        expected, _ = read(folder / "golden.safetensors")
        model, _ = ZeroTokenTransformer.load(folder)
        model.zero_gate = 1.1
        with self.assertRaises(AssertionError):
            output = forward(model, expected["ids"])
            self.assert_rows_close(output.logits[0], expected["full.logits"])

    def test_early_logits_are_those_of_a_cap(self):
        model, _ = ZeroTokenTransformer.load(FIXTURES / "golden" / "llama-key-value")
        ids = torch.arange(20)
        early = forward(model, ids, early=2).early
        self.assertTrue(torch.equal(early, forward(model, ids, cycles=2).logits))


class Training(unittest.TestCase):
    def test_new_zero_tokens_start_without_attention(self):
        model, _ = ZeroTokenTransformer.load(FIXTURES / "golden" / "llama-plain")
        config = copy.deepcopy(model.config)
        config |= {"model_type": "ztt", "base_model_type": "llama"}
        config["ztt"] = {"head_layers": 1, "tail_layers": 1, "cycles": 1}
        cycled = ZeroTokenTransformer(config)
        cycled.load_state_dict(model.state_dict())
        ids = torch.arange(30)
        expected = forward(model, ids).logits
        cycled.add_pool()
        cycled.zero_gate = 0.0
        closed = forward(cycled, ids)
        self.assertLess((closed.logits - expected).abs().max(), 1e-5)
        self.assertLess(closed.scores.max(), 1e-6)
        cycled.zero_gate = 1.0
        free = forward(cycled, ids)
        self.assertGreater(free.scores.mean(), 1e-2)

    def test_the_loss_falls(self):
        torch.manual_seed(0)
        model = ZeroTokenTransformer(new_config(vocab=32, positions=32, hidden=32, heads=2))
        model.add_pool()
        ids = torch.arange(32).repeat(20)
        steps = fit(model, ids, steps=40, batch=4, context=16, lr=1e-2)
        losses = [loss for _, loss in steps]
        self.assertLess(losses[-1], 0.5 * losses[0])
        self.assertGreater(model.zero_token_pool["key"].abs().max(), 0.0)


if __name__ == "__main__":
    unittest.main()
