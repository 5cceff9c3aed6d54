"""Small experiments around training, one a file."""

# Name -> what it asks, in a line. `python -m speedcore study NAME` runs it, `--list` prints these.
STUDIES = {
    "lr-finder": "where does the loss turn while the learning rate rises?",
    "lr-by-dataset-size": "does a larger training set ask for a lower rate? (series, part 2)",
    "forgetting": "does a network forget batches as it trains on, sooner at a higher rate? (series, part 2)",
    "architecture-search": "does a deeper network or a longer training buy more for its time? (series, part 4)",
    "convergence": "do gains in speed become gains in final accuracy, over 24 to 100 epochs? (series, part 8)",
    "batch-norm-scales": "how do batch-norm's scales and biases move in training? (series, part 8)",
    "compute-bound": "how long would training take at the device's peak, and what share of that is reached? (series, part 1)",
}
