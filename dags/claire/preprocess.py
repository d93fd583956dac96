"""Prepare scikit-learn's handwritten digits: scale the images, divide them into stratified folds.

Writes digits.npz (images, classes), digits.json (what they are) and folds/fold<N>.npz (train, test: row numbers).
"""

import argparse
import json
import os

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import StratifiedKFold

parser = argparse.ArgumentParser()
parser.add_argument("--folds", type=int, required=True)
parser.add_argument("--seed", type=int, required=True)
args = parser.parse_args()

digits = load_digits()
images = (digits.data / 16.0).astype(np.float32)  # pixels are 0 to 16
images -= images.mean(axis=0)
classes = digits.target.astype(np.int64)
np.savez("digits.npz", images=images, classes=classes)

description = {
    "images": len(images),
    "pixels": images.shape[1],
    "classes": len(digits.target_names),
    "images_per_class": np.bincount(classes).tolist(),
    "folds": args.folds,
    "seed": args.seed,
}
with open("digits.json", "w") as file:
    json.dump(description, file, indent=1)
    file.write("\n")

os.mkdir("folds")
splits = StratifiedKFold(args.folds, shuffle=True, random_state=args.seed).split(images, classes)
for number, (train, test) in enumerate(splits):
    np.savez(f"folds/fold{number}.npz", train=train, test=test)
