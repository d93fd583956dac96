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
classes = range(len(folds[0]["confusion"]))
result["confusion"] = [[sum(fold["confusion"][true][said] for fold in folds) for said in classes] for true in classes]
json.dump(result, sys.stdout, sort_keys=True)  # whatever the order in variant.json
print()
