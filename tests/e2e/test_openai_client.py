"""The unmodified ``openai`` package against a live server, and what evaluation harnesses send."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai.types import Completion
from prometheus_client.parser import text_string_to_metric_families

from export.evaluate_language_model import END_ID, START_ID, bundle_nll
from export.scoring import OpenBundle
from tests.e2e.conftest import Server, run_server

PROMPT = "I will see you"


@pytest.fixture
def api(server: Server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0) as client:
        yield client


def metric(server: Server, name: str, **labels: str) -> float:
    """The sum of a metric's samples with these labels."""
    families = text_string_to_metric_families(httpx.get(f"{server.url}/metrics").text)
    samples = (sample for family in families for sample in family.samples)
    return sum(s.value for s in samples if s.name == name and labels.items() <= s.labels.items())


def test_a_completion_has_every_member_that_the_client_reads(api: openai.OpenAI) -> None:
    answer = api.completions.create(model="lm-en", prompt=PROMPT, max_tokens=5, logprobs=2, logit_bias={"2": -100})
    choice = answer.choices[0]

    assert answer.id.startswith("cmpl-")
    assert answer.object == "text_completion"
    assert answer.model == "lm-en"
    assert answer.created > 1_700_000_000
    assert (choice.index, choice.finish_reason) == (0, "length")
    assert choice.logprobs is not None
    assert len(choice.logprobs.tokens or []) == 5
    assert (choice.logprobs.text_offset or [])[0] == len(PROMPT)
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.usage.prompt_tokens_details is not None
    assert answer.usage.prompt_tokens_details.cached_tokens is not None
    assert answer._request_id


def test_logprobs_are_null_when_not_asked_for(server: Server) -> None:
    answer = httpx.post(
        f"{server.url}/v1/completions", json={"model": "lm-en", "prompt": PROMPT, "max_tokens": 1}
    ).json()

    assert answer["choices"][0]["logprobs"] is None


def test_minus_infinity_is_written_as_a_number(server: Server) -> None:
    """JSON has none; clients of OpenAI expect -9999.0. Whatever the model says, the answer parses strictly."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"not JSON: {constant}")

    body = {"model": "lm-en", "prompt": PROMPT, "max_tokens": 3, "logprobs": 5, "echo": True}
    json.loads(httpx.post(f"{server.url}/v1/completions", json=body).content, parse_constant=refuse)


def test_a_stream_adds_up_to_the_whole_completion(api: openai.OpenAI) -> None:
    options: dict[str, Any] = {"model": "lm-en", "prompt": PROMPT, "max_tokens": 12, "seed": 3, "logprobs": 1}
    whole = api.completions.create(**options)
    chunks: list[Completion] = list(
        api.completions.create(stream=True, stream_options={"include_usage": True}, **options)
    )
    parts, last = chunks[:-1], chunks[-1]

    assert "".join(chunk.choices[0].text for chunk in parts) == whole.choices[0].text
    assert [chunk.choices[0].finish_reason for chunk in parts][-1] == whole.choices[0].finish_reason
    assert all(chunk.choices[0].finish_reason is None for chunk in parts[:-1])
    assert len({(chunk.id, chunk.created, chunk.model, chunk.object) for chunk in chunks}) == 1
    assert all(chunk.usage is None for chunk in parts)
    assert (last.choices, last.usage and last.usage.completion_tokens) == (
        [],
        whole.usage and whole.usage.completion_tokens,
    )
    tokens = [
        token for chunk in parts for token in (chunk.choices[0].logprobs and chunk.choices[0].logprobs.tokens) or []
    ]
    assert tokens == (whole.choices[0].logprobs and whole.choices[0].logprobs.tokens)


def test_the_bytes_of_a_stream(server: Server) -> None:
    body = {"model": "lm-en", "prompt": PROMPT, "max_tokens": 3, "stream": True}
    answer = httpx.post(f"{server.url}/v1/completions", json=body)
    events = answer.text.split("\n\n")

    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-request-id"]
    assert events[-2:] == ["data: [DONE]", ""]
    assert all(event.startswith("data: {") for event in events[:-2])
    assert all("usage" not in json.loads(event[6:]) for event in events[:-2])


async def test_the_asynchronous_client_streams_many_at_once(server: Server) -> None:
    async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0) as api:

        async def stream(seed: int) -> str:
            chunks = await api.completions.create(model="lm-en", prompt=PROMPT, max_tokens=20, seed=seed, stream=True)
            return "".join([chunk.choices[0].text async for chunk in chunks])

        async def whole(seed: int) -> str:
            return (
                (await api.completions.create(model="lm-en", prompt=PROMPT, max_tokens=20, seed=seed)).choices[0].text
            )

        streamed = await asyncio.gather(*map(stream, range(12)))
        assert streamed == await asyncio.gather(*map(whole, range(12)))


@pytest.mark.parametrize(
    ("options", "error", "param", "code"),
    [
        ({"model": "gpt-4"}, openai.NotFoundError, "model", "model_not_found"),
        ({"model": "sentiment-en"}, openai.NotFoundError, "model", "model_not_found"),
        ({"prompt": ""}, openai.BadRequestError, "prompt", "invalid_request"),
        ({"logprobs": 6}, openai.BadRequestError, "logprobs", "invalid_request"),
        ({"n": 2, "best_of": 1}, openai.BadRequestError, "best_of", "invalid_request"),
        ({"max_tokens": 10**6}, openai.BadRequestError, "max_tokens", "invalid_request"),
        ({"temperature": "hot"}, openai.BadRequestError, "temperature", "invalid_request"),
    ],
)
def test_errors_are_the_clients_own(
    api: openai.OpenAI, options: dict[str, Any], error: type[openai.APIStatusError], param: str, code: str
) -> None:
    with pytest.raises(error) as raised:
        api.completions.create(**{"model": "lm-en", "prompt": PROMPT, **options})

    assert (raised.value.param, raised.value.code, raised.value.type) == (param, code, "invalid_request_error")


def test_the_client_retries_when_the_server_is_overloaded(bundles: Path) -> None:
    """It waits as long as ``retry-after-ms`` says; in the end every request is answered."""
    settings = {"batching__max_queued_rows": "1", "batching__inline_run_s": "0", "limits__max_chars": "400000"}

    async def ask_all(url: str) -> list[Completion]:
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="any", max_retries=100) as api:
            prompts = [f"{i} " + PROMPT * 200 for i in range(40)]
            return await asyncio.gather(
                *(api.completions.create(model="lm-en", prompt=p, max_tokens=1) for p in prompts)
            )

    with run_server(bundles, **settings) as small:
        answers = asyncio.run(ask_all(small.url))

        assert len(answers) == 40
        assert metric(small, "rnnserve_rejected_total", reason="overloaded") > 0
        assert metric(small, "rnnserve_requests_total", route="/v1/completions", code="429") > 0


def test_a_client_that_leaves_stops_the_generation(server: Server) -> None:
    """Its steps are not run for nobody."""
    body = {"model": "lm-en", "prompt": PROMPT, "max_tokens": 4000, "stream": True, "logit_bias": {"2": -100}}
    before = metric(server, "rnnserve_generated_tokens_total")
    with httpx.stream("POST", f"{server.url}/v1/completions", json=body) as answer:
        next(answer.iter_bytes())
    after = before
    for _ in range(200):  # until the count has come in
        after = metric(server, "rnnserve_generated_tokens_total")
        if after > before:
            break

    assert before < after < before + 4000


def harness_request(prompts: list[list[int]]) -> dict[str, Any]:
    """What lm-evaluation-harness sends for ``local-completions``."""
    return {
        "model": "lm-en",
        "prompt": prompts,
        "temperature": 0,
        "max_tokens": 1,
        "logprobs": 1,
        "seed": 1234,
        "echo": True,
    }


def harness_scores(answer: dict[str, Any], context_lengths: list[int]) -> list[tuple[float, bool]]:
    """How it reads the answer: the sum of the continuation's log-probabilities, and whether each token was the likeliest."""
    scores: list[tuple[float, bool]] = []
    for choice, length in zip(sorted(answer["choices"], key=lambda c: c["index"]), context_lengths, strict=True):
        logprobs = choice["logprobs"]["token_logprobs"][length:-1]
        tops = choice["logprobs"]["top_logprobs"][length:-1]
        greedy = all(logprob == max(top.values()) for logprob, top in zip(logprobs, tops, strict=True))
        scores.append((sum(logprobs), greedy))
    return scores


def test_an_evaluation_harness_reads_the_perplexity_of_rnnserve_evaluate(server: Server, bundles: Path) -> None:
    """Scored over HTTP from token ids, and by the code that measures bundles; the end of the document counts in both."""
    bundle = OpenBundle.open(bundles / "lm-en")
    texts = ["I will see you tomorrow.", "This movie is not good, and I don't like the plot. " * 20]
    prompts = [[START_ID, *bundle.tokenizer.ids(text), END_ID] for text in texts]
    answer = httpx.post(f"{server.url}/v1/completions", json=harness_request(prompts), timeout=60).json()
    measured = harness_scores(answer, [1] * len(prompts))  # the context is <s>

    for text, ids, (total, _) in zip(texts, prompts, measured, strict=True):
        evaluated = bundle_nll(bundle, [[text]])
        assert math.exp(-total / (len(ids) - 1)) == pytest.approx(math.exp(evaluated / (len(ids) - 1)), rel=1e-4)


def test_an_evaluation_harness_sees_greedy_continuations(server: Server) -> None:
    """A continuation that the model itself wrote at temperature 0 is the likeliest at every token."""
    tokens = httpx.post(
        f"{server.url}/v1/completions",
        json={"model": "lm-en", "prompt": PROMPT, "max_tokens": 6, "temperature": 0, "logprobs": 0},
    ).json()
    text = PROMPT + tokens["choices"][0]["text"]
    scored = httpx.post(
        f"{server.url}/v1/completions",
        json={"model": "lm-en", "prompt": text, "max_tokens": 1, "temperature": 0, "logprobs": 1, "echo": True},
    ).json()
    entries = scored["choices"][0]["logprobs"]
    context = sum(1 for offset in entries["text_offset"] if offset < len(PROMPT))

    assert entries["tokens"][context:-1] == tokens["choices"][0]["logprobs"]["tokens"]
    assert harness_scores(scored, [context])[0][1]


def test_special_words_in_a_prompt_are_only_text(api: openai.OpenAI) -> None:
    answer = api.completions.create(model="lm-en", prompt="</s><s>", max_tokens=0, echo=True, logprobs=0)

    assert answer.choices[0].text == "</s><s>"
    assert answer.usage is not None
    assert answer.usage.prompt_tokens > 2


@pytest.mark.parametrize("prompt", ["\0", "🙂", "مرحبا", "a" * 100_000, "电影abc", " ", "\n\n", "e\u0301"])
def test_any_prompt_is_continued(api: openai.OpenAI, prompt: str) -> None:
    answer = api.completions.create(model="lm-en", prompt=prompt, max_tokens=2, echo=True, temperature=0)

    assert answer.choices[0].text.startswith(prompt)


def test_a_wrong_body_is_an_openai_error(server: Server) -> None:
    def post(content: bytes, content_type: str = "application/json") -> httpx.Response:
        return httpx.post(f"{server.url}/v1/completions", content=content, headers={"content-type": content_type})

    for answer, status in (
        (post(b"{"), 400),
        (post(b'{"model":"lm-en","prompt":"\\ud800"}'), 400),
        (post(b"{}", "text/plain"), 415),
        (post(b" " * 3_000_000), 413),
        (post(b"[]"), 400),
    ):
        assert answer.status_code == status
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
