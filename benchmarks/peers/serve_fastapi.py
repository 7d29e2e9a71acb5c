"""Plain FastAPI: the model in the route, one request is one run. Two uvicorn processes, as there are two cores."""

import os

from fastapi import FastAPI
from pydantic import BaseModel
from sentiment_model import SentimentModel

app = FastAPI()
model = SentimentModel()


class Request(BaseModel):
    """What is sent."""

    text: str


class Response(BaseModel):
    """What is answered."""

    label: str
    score: float
    probabilities: dict[str, float]


@app.post("/predict")
async def predict(request: Request) -> Response:
    """Classify one text in a run of its own."""
    return Response(**model.classify([request.text])[0])


if __name__ == "__main__":
    import uvicorn

    port, workers = int(os.environ["BENCH_PORT"]), int(os.environ["BENCH_WORKERS"])
    uvicorn.run(
        "serve_fastapi:app", host="127.0.0.1", port=port, workers=workers, access_log=False, log_level="warning"
    )
