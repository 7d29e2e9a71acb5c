"""mosec: one worker behind its Rust front, batches of up to 32 texts, waiting at most 1 ms."""

import os
import sys

from mosec import Server, Worker
from sentiment_model import SentimentModel


class Sentiment(Worker):
    """One list of parsed bodies in, one list of answers out."""

    def __init__(self):
        self.model = SentimentModel()

    def forward(self, data):
        """Run the model on the whole batch."""
        return self.model.classify([item["text"] for item in data])


if __name__ == "__main__":
    sys.argv += ["--address", "127.0.0.1", "--port", os.environ["BENCH_PORT"], "--log-level", "warning"]
    server = Server()
    server.append_worker(Sentiment, max_batch_size=32, max_wait_time=1)
    server.run()
