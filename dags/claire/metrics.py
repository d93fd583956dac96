"""Test a network on the fold that its training left out; prints accuracy, F1, loss and confusion matrix as JSON."""

import argparse
import json
import os
import sys

import numpy as np

parser = argparse.ArgumentParser()
parser.add_argument("--model", required=True)
parser.add_argument("--images", required=True)
parser.add_argument("--folds", required=True)
parser.add_argument("--fold", type=int, required=True)
args = parser.parse_args()

with open(os.path.splitext(args.model)[0] + ".json") as file:
    history = json.load(file)
with open(os.path.splitext(args.images)[0] + ".json") as file:
    description = json.load(file)
if history["fold"] != args.fold:
    sys.exit(f"{args.model} was trained for fold {history['fold']}, not for fold {args.fold}")

digits = np.load(args.images)
rows = np.load(os.path.join(args.folds, f"fold{args.fold}.npz"))["test"]
values, classes = digits["images"][rows].astype(np.float64), digits["classes"][rows]

model = np.load(args.model)
layers = len(model.files) // 2
for number in range(layers):
    values = values @ model[f"weights{number}"] + model[f"biases{number}"]
    if number < layers - 1:
        values = np.maximum(values, 0.0)  # relu
values -= values.max(axis=1, keepdims=True)
log_probability = values - np.log(np.exp(values).sum(axis=1, keepdims=True))

confusion = np.zeros((description["classes"],) * 2, dtype=int)
np.add.at(confusion, (classes, values.argmax(axis=1)), 1)
hits = np.diag(confusion)
f1 = 2 * hits / np.maximum(confusion.sum(axis=0) + confusion.sum(axis=1), 1)

metrics = {
    "fold": args.fold,
    "test_images": len(rows),
    "accuracy": round(float(hits.sum() / len(rows)), 6),
    "f1": round(float(f1.mean()), 6),
    "loss": round(float(-log_probability[np.arange(len(rows)), classes].mean()), 6),
    "train_loss": history["loss"][-1],
    "parameters": history["parameters"],
    "confusion": confusion.tolist(),
}
json.dump(metrics, sys.stdout)
print()
