"""LitServe with its batching on: up to 32 texts, waiting at most 1 ms."""

import os

import litserve
from sentiment_model import SentimentModel


class Sentiment(litserve.LitAPI):
    """LitServe's hooks around the model."""

    def setup(self, device):  # noqa: ARG002  # LitServe's signature
        """Load the model in the worker process."""
        self.model = SentimentModel()

    def decode_request(self, request):
        """Take the text out of the parsed body."""
        return request["text"]

    def batch(self, inputs):
        """Texts are batched as a list."""
        return list(inputs)

    def predict(self, texts):
        """Run the model on the whole batch."""
        return self.model.classify(texts)

    def unbatch(self, output):
        """One answer per text."""
        return output

    def encode_response(self, output):
        """The answer is JSON already."""
        return output


if __name__ == "__main__":
    api = Sentiment(max_batch_size=32, batch_timeout=0.001)
    server = litserve.LitServer(api, accelerator="cpu", devices=1, workers_per_device=1)
    server.run(host="127.0.0.1", port=int(os.environ["BENCH_PORT"]), generate_client_file=False, log_level="warning")
