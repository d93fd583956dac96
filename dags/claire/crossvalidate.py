"""usage: crossvalidate.py VARIANT METRICS... : mean and standard deviation over the folds of a variant, as JSON."""

import json
import statistics
import sys


def load(path):
    with open(path) as file:
        return json.load(file)


variant, *folds = (load(path) for path in sys.argv[1:])
result = {"variant": variant, "folds": len(folds), "parameters": folds[0]["parameters"]}
for name in ("accuracy", "f1", "loss", "train_loss"):
    values = [fold[name] for fold in folds]
    result[name] = {
        "mean": round(statistics.mean(values), 6),
        "stdev": round(statistics.stdev(values), 6),
        "folds": values,
    }
result["confusion"] = [[sum(cells) for cells in zip(*rows)] for rows in zip(*(fold["confusion"] for fold in folds))]
json.dump(result, sys.stdout)
print()
