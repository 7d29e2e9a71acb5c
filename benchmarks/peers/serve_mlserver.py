"""MLServer's runtime: adaptive batching of up to 32 texts, waiting at most 1 ms (sentiment/model-settings.json)."""

from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse
from sentiment_model import SentimentModel


class Sentiment(MLModel):
    """Texts as one BYTES tensor in, labels and probabilities as two tensors out."""

    async def load(self) -> bool:
        """Load the model in the worker process."""
        self.model = SentimentModel()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Run the model on the whole batch."""
        texts = StringCodec.decode_input(payload.inputs[0])
        rows = self.model.probabilities(texts)
        labels = [self.model.manifest["labels"][best] for best in rows.argmax(axis=1)]
        outputs = [StringCodec.encode_output("label", labels), NumpyCodec.encode_output("probabilities", rows)]
        return InferenceResponse(model_name=self.name, outputs=outputs)
