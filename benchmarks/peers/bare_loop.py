"""No server at all: tokenise and run in a loop on one core. Prints texts per second, alone and in batches of 32, as JSON.

Takes the texts as a JSON list on standard input and the seconds for each measurement as its argument. Its answers are
what every server's answers are compared with.
"""

import json
import sys
import time

from sentiment_model import SentimentModel


def measure(model, texts, batch, seconds):
    """Texts per second, the median seconds of one call, and how many calls."""
    times = []
    start = now = time.perf_counter()
    position = 0
    while now - start < seconds:
        chosen = [texts[(position + offset) % len(texts)] for offset in range(batch)]
        position += batch
        before = time.perf_counter()
        model.classify(chosen)
        now = time.perf_counter()
        times.append(now - before)
    return {"throughput_per_s": len(times) * batch / (now - start), "p50_ms": sorted(times)[len(times) // 2] * 1e3}


if __name__ == "__main__":
    texts, seconds = json.load(sys.stdin), float(sys.argv[1])
    model = SentimentModel()
    answers = [model.classify([text])[0] for text in texts]
    result = {
        "answers": answers,
        "alone": measure(model, texts, 1, seconds),
        "batches": measure(model, texts, 32, seconds),
    }
    json.dump(result, sys.stdout)
