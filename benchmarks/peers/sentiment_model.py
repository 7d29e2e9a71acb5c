"""The model that every server under comparison runs: the same tokeniser, graph, session options and arithmetic.

Runs in each peer's own environment, so it needs no more than onnxruntime, tokenizers and numpy. The bundle's folder comes in
the environment variable BENCH_BUNDLE.
"""

import json
import os
from pathlib import Path

import numpy as np
import onnxruntime as ort
from tokenizers import Tokenizer


class SentimentModel:
    """Texts in, labels with probabilities out; the texts of one call share one model run."""

    def __init__(self):
        folder = Path(os.environ["BENCH_BUNDLE"])
        self.manifest = json.loads((folder / "manifest.json").read_bytes())
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = ort.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])

    def probabilities(self, texts):
        """(texts, labels) as a numpy array."""
        if len(texts) == 1:
            rows = [self.tokenizer.encode(texts[0], add_special_tokens=False).ids]
        else:
            rows = [encoding.ids for encoding in self.tokenizer.encode_batch(texts, add_special_tokens=False)]
        lengths = np.array([len(row) for row in rows], dtype=np.int64)
        input_ids = np.zeros((len(rows), lengths.max()), dtype=np.int64)
        for row, ids in zip(input_ids, rows, strict=True):
            row[: len(ids)] = ids
        state = np.zeros((len(rows), self.manifest["state_size"]), dtype=np.float32)
        feeds = {
            "input_ids": input_ids,
            "lengths": lengths,
            "state": state,
            "logits_to_keep": np.array(1, dtype=np.int64),
        }
        logits = self.session.run(None, feeds)[1][:, -1, :] / self.manifest["temperature"]
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)

    def classify(self, texts):
        """One answer per text, as JSON values."""
        labels = self.manifest["labels"]
        answers = []
        for row in self.probabilities(texts).tolist():
            best = max(range(len(row)), key=row.__getitem__)
            answers.append(
                {"label": labels[best], "score": row[best], "probabilities": dict(zip(labels, row, strict=True))}
            )
        return answers
