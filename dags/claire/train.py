"""Train one multi-layer perceptron on all folds but one.

The learning rate is halved every --step-size epochs. Writes the weights and biases of each layer as MODEL.npz, and
MODEL.json with the parameters and the loss of each epoch. The same arguments give the same bytes.
"""

import argparse
import json
import os
import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

NEURONS = 32
DECAY = 0.5

parser = argparse.ArgumentParser()
parser.add_argument("--images", required=True)
parser.add_argument("--folds", required=True)
parser.add_argument("--fold", type=int, required=True)
parser.add_argument("--epochs", type=int, required=True)
parser.add_argument("--seed", type=int, required=True)
parser.add_argument("--learning-rate", type=float, required=True)
parser.add_argument("--step-size", type=int, required=True)
parser.add_argument("--layers", type=int, required=True)
parser.add_argument("--weight-decay", type=float, required=True)
parser.add_argument("--model", required=True)
args = parser.parse_args()
if args.epochs < 1:
    parser.error(f"--epochs must be 1 or more, not {args.epochs}")

digits = np.load(args.images)
rows = np.load(os.path.join(args.folds, f"fold{args.fold}.npz"))["train"]
images, classes = digits["images"][rows], digits["classes"][rows]

network = MLPClassifier(
    hidden_layer_sizes=(NEURONS,) * args.layers,
    solver="sgd",
    momentum=0.9,
    alpha=args.weight_decay,
    batch_size=64,
    warm_start=True,  # each call of fit goes on from the last one's weights
    n_iter_no_change=args.epochs + 1,  # never stop early
    random_state=np.random.RandomState(args.seed + args.fold),
)
warnings.simplefilter("ignore", ConvergenceWarning)
rates = []
for start in range(0, args.epochs, args.step_size):
    rates.append(args.learning_rate * DECAY ** len(rates))
    network.set_params(learning_rate_init=rates[-1], max_iter=min(args.step_size, args.epochs - start))
    network.fit(images, classes)

arrays = {}
for number, weights in enumerate(network.coefs_):
    arrays[f"weights{number}"] = weights.astype(np.float32)
    arrays[f"biases{number}"] = network.intercepts_[number].astype(np.float32)
np.savez(args.model, **arrays)

history = {
    "fold": args.fold,
    "train_images": len(rows),
    "parameters": sum(array.size for array in arrays.values()),
    "learning_rates": [round(rate, 8) for rate in rates],
    "loss": [round(float(loss), 6) for loss in network.loss_curve_],
}
with open(os.path.splitext(args.model)[0] + ".json", "w") as file:
    json.dump(history, file, indent=1)
    file.write("\n")
