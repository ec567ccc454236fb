"""Where else the rows of ``metrics.jsonl`` go: TensorBoard's files, Weights & Biases, MLflow."""
