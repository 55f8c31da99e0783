"""Makes one Markdown page of what run.sh left in a folder: report.py OUT

Each figure stands beside what the device was seen to do in the same run: bytes a second beside the
best read bandwidth, operations a second beside the best multiply-add rate in f32.
"""

import json
import sys
from pathlib import Path


def number(value, digits=3):
    """`value` with so many significant digits, thousands apart."""
    if value is None:
        return ""
    if value == 0:
        return "0"
    shown = float(f"{value:.{digits}g}")
    return f"{shown:,.0f}" if abs(shown) >= 100 else f"{shown:g}"


def share(part, whole):
    return number(100 * part / whole) if part is not None and whole else ""


def table(titles, rows, text_columns=1):
    """A Markdown table, the columns after the first `text_columns` to the right."""
    rules = ["---" if i < text_columns else "---:" for i in range(len(titles))]
    lines = [titles, rules, *rows]
    cells = [[str(cell).replace("|", "/") for cell in line] for line in lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in cells) + "\n"


class Run:
    """The files of one run."""

    def __init__(self, folder):
        self.devices = json.loads((folder / "machine.json").read_text())
        lines = (folder / "steps.tsv").read_text().splitlines()
        self.steps = [(line.split("\t") + [""])[:4] for line in lines]
        self.reports = {}
        for line in (folder / "reports.tsv").read_text().splitlines():
            step, report = line.split("\t", 1)
            try:
                self.reports[step] = json.loads(report)
            except json.JSONDecodeError:
                pass  # of a step that was stopped while it wrote

    def rows(self, kind):
        """Step and row of every measurement of a kind."""
        for step, report in self.reports.items():
            for row in report["rows"]:
                if row["kind"] == kind:
                    yield step, row

    def peak(self, name):
        """The most that any report saw the device do."""
        found = [report["peaks"].get(name) for report in self.reports.values()]
        return max((peak for peak in found if peak), default=None)


def machine(run):
    chosen = [device for device in run.devices if device["default"]] or run.devices[:1]
    out = []
    for device in chosen:
        limits, sizes = device["limits"], device["subgroup_sizes"] or []
        features = [name for name, on in device["features"].items() if on]
        rows = [
            ["adapter", f"{device['name']} ({device['type']}, {device['backend']})"],
            ["driver", f"{device['driver']} {device['driver_info']}"],
            ["class of kernels", device["kernels"]],
            ["subgroups", " to ".join(str(size) for size in dict.fromkeys(sizes)) or "none"],
            ["features", ", ".join(features)],
            ["cooperative matrices", ", ".join(device["cooperative_matrices"]) or "none"],
        ]
        rows += [[name.replace("_", " "), f"{value:,}"] for name, value in limits.items()]
        if device["type"] == "software":
            out.append("**A software adapter: no figure here says anything about a GPU.**\n")
        out.append(table(["", ""], rows, 2))
    return out


def device_figures(run):
    peaks = [
        ("read", "read_gb_per_s", "GB/s"),
        ("write", "write_gb_per_s", "GB/s"),
        ("copy, read and written", "copy_gb_per_s", "GB/s"),
        ("multiply-adds in f32", "f32_gflop_per_s", "GFLOP/s"),
        ("multiply-adds in f16", "f16_gflop_per_s", "GFLOP/s"),
        ("matrix units, f16 into f32", "matrix_gflop_per_s", "GFLOP/s"),
    ]
    rows = [[name, number(run.peak(key)), unit] for name, key, unit in peaks if run.peak(key)]
    seen = set()
    for _, row in run.rows("device"):
        if row["test"] not in seen:
            seen.add(row["test"])
            rows.append([row["test"], number(row["median"]), row["unit"]])
    return [table(["", "median", "unit"], rows)] if rows else []


def model_figures(run, wanted):
    """A table of the steps that `wanted` says yes to."""
    read, fma = run.peak("read_gb_per_s"), run.peak("f32_gflop_per_s")
    rows = []
    for step, row in run.rows("model"):
        if not wanted(step):
            continue
        # A weight is multiplied and added once for each token.
        gflop_per_s = 2e-9 * row["params"] * row["median"] if row["n_prompt"] else None
        threshold = row["exit_threshold"]
        rows.append([
            row["model"].removeprefix("synthetic "),
            row["quant"],
            row["test"],
            row["kernels"],
            f"{row['mean_cycles']:.2f}" + ("" if threshold is None else f" (exit at {threshold})"),
            number(row["median"], 4),
            number(1e3 / row["median"]),
            number(row["gb_per_s"]),
            share(row["gb_per_s"], read),
            number(gflop_per_s),
            share(gflop_per_s, fma),
            number(row["dispatches_per_token"]),
        ])
    titles = ["model", "weights", "test", "kernels", "cycles", "tokens/s", "ms a token", "GB/s",
              "% of read", "GFLOP/s", "% of f32", "dispatches a token"]
    return [table(titles, rows, 4)] if rows else []


def kernel_figures(run):
    rows = []
    for _, row in run.rows("kernel"):
        rows.append([row["test"], row["kernel"], number(row["median"], 4), number(row["gb_per_s"]),
                     number(row["gflop_per_s"]), row["bound"], number(row["percent_of_peak"])])
    titles = ["what", "kernel", "us", "GB/s", "GFLOP/s", "bound", "% of peak"]
    return [table(titles, rows, 2)] if rows else []


def first_looks(run):
    """What a reader should look at before the rest."""
    looks = []
    for name, result, _, note in run.steps:
        if result != "done":
            looks.append(f"{name}: {result}{', ' + note if note else ''}")
    kernels = [row for _, row in run.rows("kernel")]
    for phase in ("decode", "prefill"):
        lost = lambda row: row["median"] * (1 - row["percent_of_peak"] / 100)
        worst = sorted((r for r in kernels if r["phase"] == phase), key=lost, reverse=True)[:3]
        for row in worst:
            looks.append(f"{row['test']} (`{row['kernel']}`) takes {number(row['median'])} us at "
                         f"{number(row['percent_of_peak'])} % of the peak: {number(lost(row))} us a "
                         "call could be saved")
    costs = {row["test"]: row["median"] for _, row in run.rows("device")}
    ways = [("a zero indirect count", costs.get("skipped by zero indirect count")),
            ("an early return", costs.get("skipped by early return"))]
    if all(cost is not None for _, cost in ways):
        (cheap, low), (_, high) = sorted(ways, key=lambda way: way[1])
        looks.append(f"{cheap} skips a dispatch in {number(low)} us, the other way takes "
                     f"{number(high)} us")
    texts = [row for step, row in run.rows("model") if step == "several texts"]
    if texts and texts[0]["n_parallel"] == 1:
        rates = ", ".join(f"{row['n_parallel']}: {number(row['median'] / texts[0]['median'])}"
                          for row in texts[1:])
        looks.append(f"several texts at once against one, tokens/s: {rates}")
    return looks


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: report.py OUT")
    folder = Path(sys.argv[1])
    try:
        run = Run(folder)
    except (OSError, json.JSONDecodeError) as error:
        sys.exit(f"report.py: {folder}: expected the files that run.sh writes, found {error}")
    names = [device["name"] for device in run.devices if device["default"]]
    out = [f"# ztt-wgpu on {', '.join(names) or 'no adapter'}\n"]
    out += ["## What to look at first\n", *(f"- {look}" for look in first_looks(run)), ""]
    one_text = lambda step: step not in ("several texts", "skipped cycles")
    sections = [
        ("Models", model_figures(run, one_text)),
        ("Skipped cycles", model_figures(run, lambda step: step == "skipped cycles")),
        ("Several texts at once", model_figures(run, lambda step: step == "several texts")),
        ("Kernels", kernel_figures(run)),
        ("What the device can do", device_figures(run)),
        ("Machine", machine(run)),
        ("Steps", [table(["step", "result", "s", "note"], run.steps, 2)]),
    ]
    for title, lines in sections:
        if lines:
            out += [f"## {title}\n", *lines]
    print("\n".join(out))


if __name__ == "__main__":
    main()
