"""usage: report.py CROSSVALIDATIONS... : compare the variants.

Writes report.csv (one row per variant, best first), report.md, report.png and best.txt (one line).
"""

import csv
import json
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

INK, MUTED, GRID, BAR, BEST = "#1f2933", "#5f6b7a", "#e3e8ee", "#8fb3d9", "#0b4f8a"
MEASURES = [(name, kind) for name in ("accuracy", "f1", "loss", "train_loss") for kind in ("mean", "stdev")]
SHOWN = 16  # variants in the ranking: more would not be readable


def load(path):
    with open(path) as file:
        return json.load(file)


def percent(value):
    return f"{100 * value:.1f}"


def describe(variant):
    depth = "1 layer" if variant["layers"] == 1 else f"{variant['layers']} layers"
    return (
        f"learning rate {variant['learning_rate']:g}, halved every {variant['step_size']} epochs, "
        f"{depth}, weight decay {variant['weight_decay']:g}"
    )


def write_table(results):
    with open("report.csv", "w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(
            ["rank", "variant", "learning_rate", "step_size", "layers", "weight_decay", "parameters", "folds"]
            + [f"{name}_{kind}" for name, kind in MEASURES]
        )
        for rank, result in enumerate(results, start=1):
            variant = result["variant"]
            table.writerow(
                [rank, variant["name"], variant["learning_rate"], variant["step_size"], variant["layers"]]
                + [variant["weight_decay"], result["parameters"], result["folds"]]
                + [result[name][kind] for name, kind in MEASURES]
            )


def write_page(results):
    best, folds = results[0], results[0]["folds"]
    confusion = best["confusion"]
    images = sum(map(sum, confusion))
    wrong = sorted(
        ((count, true, said) for true, row in enumerate(confusion) for said, count in enumerate(row) if true != said),
        key=lambda entry: (-entry[0], entry[1], entry[2]),
    )
    mistakes = ", ".join(f"{true} read as {said} ({count}x)" for count, true, said in wrong[:3] if count)
    missed = sum(count for count, _, _ in wrong)
    lines = [
        f"# {len(results)} variants, {folds} folds",
        "",
        f"Best: **{best['variant']['name']}** ({describe(best['variant'])}): "
        f"accuracy {percent(best['accuracy']['mean'])} % (standard deviation over the folds "
        f"{percent(best['accuracy']['stdev'])} %). It misread {missed} of {images} images"
        + (f", most often {mistakes}." if mistakes else "."),
        "",
        "![Accuracy of the variants](report.png)",
        "",
        "| rank | variant | learning rate | step size | layers | weight decay | accuracy % | F1 % | loss |",
        "|-----:|---------|--------------:|----------:|-------:|-------------:|-----------:|-----:|-----:|",
    ]
    for rank, result in enumerate(results, start=1):
        variant = result["variant"]
        lines.append(
            f"| {rank} | {variant['name']} | {variant['learning_rate']:g} | {variant['step_size']} "
            f"| {variant['layers']} | {variant['weight_decay']:g} "
            f"| {percent(result['accuracy']['mean'])} ± {percent(result['accuracy']['stdev'])} "
            f"| {percent(result['f1']['mean'])} | {result['loss']['mean']:.3f} |"
        )
    with open("report.md", "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")


def draw_heat_map(axes, results):
    """Mean accuracy: rows are learning rate and step size, columns are layers and weight decay."""
    accuracy = {
        (
            (-result["variant"]["learning_rate"], result["variant"]["step_size"]),
            (result["variant"]["layers"], result["variant"]["weight_decay"]),
        ): 100 * result["accuracy"]["mean"]
        for result in results
    }
    rows = sorted({row for row, _ in accuracy})
    columns = sorted({column for _, column in accuracy})
    values = [[accuracy.get((row, column), float("nan")) for column in columns] for row in rows]
    known = sorted(accuracy.values())
    low, high = known[len(known) // 20], known[-1]  # a few failed trainings must not wash out the rest
    if high - low < 0.5:
        low, high = low - 0.5, high + 0.5
    picture = axes.imshow(values, cmap="Blues", vmin=low, vmax=high, aspect="auto")
    best = results[0]["variant"]
    for y, row in enumerate(rows):
        for x, column in enumerate(columns):
            if (row, column) not in accuracy:
                continue
            value = accuracy[row, column]
            is_best = (row, column) == (
                (-best["learning_rate"], best["step_size"]),
                (best["layers"], best["weight_decay"]),
            )
            dark = (value - low) / (high - low) > 0.6
            axes.text(
                x,
                y,
                f"{value:.1f}",
                ha="center",
                va="center",
                fontsize=9,
                color="white" if dark else INK,
                fontweight="bold" if is_best else "normal",
            )
    axes.set_xticks(range(len(columns)), [f"{layers}\n{decay:g}" for layers, decay in columns], fontsize=8.5)
    axes.set_yticks(range(len(rows)), [f"{-rate:g} / {step}" for rate, step in rows], fontsize=8.5)
    axes.set_xlabel("hidden layers (above), weight decay (below)", color=MUTED)
    axes.set_ylabel("learning rate / step size", color=MUTED)
    axes.set_title("Accuracy of each variant, %", loc="left", fontsize=11, color=INK)
    axes.set_xticks([x - 0.5 for x in range(1, len(columns))], minor=True)
    axes.set_yticks([y - 0.5 for y in range(1, len(rows))], minor=True)
    axes.grid(which="minor", color="white", linewidth=2)
    axes.tick_params(which="both", length=0, colors=INK)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return picture


def draw_ranking(axes, results):
    """Best variants, best on top: mean, standard deviation, and every fold as a dot."""
    shown = results[:SHOWN]
    for y, result in enumerate(shown):
        color = BEST if y == 0 else BAR
        folds = [100 * value for value in result["accuracy"]["folds"]]
        mean, stdev = 100 * result["accuracy"]["mean"], 100 * result["accuracy"]["stdev"]
        axes.errorbar(
            mean, y, xerr=stdev, fmt="none", ecolor=color, elinewidth=7 if len(shown) > 8 else 11, alpha=0.45, zorder=2
        )
        axes.plot(folds, [y] * len(folds), "o", color=color, markersize=4, alpha=0.9, zorder=3, markeredgewidth=0)
        axes.plot(mean, y, "|", color=INK, markersize=13, markeredgewidth=2, zorder=4)
    axes.set_yticks(
        range(len(shown)),
        [
            "{name}:  rate {learning_rate:g} / {step_size},  layers {layers},  decay {weight_decay:g}".format(
                **result["variant"]
            )
            for result in shown
        ],
        fontsize=8.5,
    )
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xlabel("accuracy, %  (dots: folds, bar: mean ± standard deviation)", color=MUTED)
    title = f"Best {len(shown)} of {len(results)} variants" if len(results) > len(shown) else "Ranking"
    axes.set_title(f"{title}, {results[0]['folds']} folds", loc="left", fontsize=11, color=INK)
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, colors=INK)
    for spine in axes.spines.values():
        spine.set_visible(False)


def draw(results):
    rows = len({(result["variant"]["learning_rate"], result["variant"]["step_size"]) for result in results})
    height = max(3.6, 1.6 + 0.36 * max(rows, min(len(results), SHOWN)))
    figure, (left, right) = plt.subplots(1, 2, figsize=(13, height), constrained_layout=True)
    draw_heat_map(left, results)
    draw_ranking(right, results)
    figure.savefig("report.png", dpi=110, metadata={"Software": None})  # no version, no date: the same bytes again


results = sorted(map(load, sys.argv[1:]), key=lambda result: (-result["accuracy"]["mean"], result["variant"]["name"]))
write_table(results)
write_page(results)
draw(results)
winner = results[0]
with open("best.txt", "w") as file:
    file.write(
        f"{winner['variant']['name']}: {describe(winner['variant'])}: accuracy {percent(winner['accuracy']['mean'])} %"
    )
