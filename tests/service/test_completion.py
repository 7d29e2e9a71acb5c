"""Completion: what is generated and scored equals what the model says, whoever else is generating."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from service.batching import AdmissionPolicy
from service.completion import Choice, Completer, Delta, Job
from service.engine import FloatArray, IntArray
from service.errors import InvalidRequestError, ModelRunError, OverloadedError, UnknownModelError, UnsettledTextError
from service.language_model import END_ID, NEVER_GENERATED, START_ID, LanguageModel
from service.metrics import Metrics, ModelMetrics
from service.openai_schemas import CompletionRequest
from service.registry import LoadedModel, ModelRegistry, load_models
from service.running_text import StateTokens
from service.sampling import log_softmax
from service.settings import BatchingSettings, LimitSettings
from service.state_cache import StateCache
from service.state_token import StateSealer

shared_loop = pytest.mark.asyncio(loop_scope="module")  # a batcher stays with the loop that it first ran on

PROMPT = "I will see you"


@pytest.fixture(scope="module")
def registry(bundles: Path) -> Iterator[ModelRegistry]:
    metrics = Metrics()
    loaded = load_models(bundles, 1, BatchingSettings(), lambda model_id: ModelMetrics(metrics, model_id))
    yield loaded
    loaded.close()


@pytest.fixture
def model(registry: ModelRegistry) -> LoadedModel:
    return registry.get("lm-en")


def completer(registry: ModelRegistry, cache_bytes: int = 1_000_000, **limits: int) -> Completer:
    models = {m.id: LanguageModel(m, StateCache(cache_bytes)) for m in registry if m.manifest.task == "language-model"}
    states = StateTokens(registry, StateSealer([bytes(32)], lambda: 0.0))
    return Completer(registry, models, LimitSettings(**limits), Metrics(), states)


def asked(prompt: object = PROMPT, **options: Any) -> CompletionRequest:
    return CompletionRequest.model_validate_json(json.dumps({"model": "lm-en", "prompt": prompt, **options}))


async def complete(use_case: Completer, request: CompletionRequest) -> tuple[list[Choice], Job]:
    job = await use_case.start(request)
    return await use_case.complete(job), job


async def one(use_case: Completer, request: CompletionRequest) -> Choice:
    choices, _ = await complete(use_case, request)
    assert len(choices) == 1
    return choices[0]


async def streamed(use_case: Completer, request: CompletionRequest) -> list[Delta]:
    return [delta async for delta in use_case.stream(await use_case.start(request))]


def all_logits(model: LoadedModel, ids: list[int]) -> FloatArray:
    """(T, V) logits after each token of one whole run."""
    zeros = np.zeros((1, model.manifest.state_size), np.float32)
    logits: FloatArray = model.engine.run(np.array([ids]), np.array([len(ids)]), zeros, len(ids))[1][0]
    return logits


def greedy(model: LoadedModel, ids: list[int], steps: int) -> list[int]:
    generated: list[int] = []
    for _ in range(steps):
        row = all_logits(model, [START_ID, *ids, *generated])[-1].copy()
        row[list(NEVER_GENERATED)] = -np.inf
        generated.append(int(row.argmax()))
        if generated[-1] == END_ID:
            break
    return generated


@shared_loop
async def test_greedy_text_is_what_the_model_says_step_by_step(registry: ModelRegistry, model: LoadedModel) -> None:
    choice = await one(completer(registry), asked(max_tokens=12, temperature=0, logprobs=0))
    expected = greedy(model, model.tokenizer.encode(PROMPT).ids, 12)

    assert [entry.token for entry in choice.entries] == [
        model.tokenizer.token_bytes(token).decode() for token in expected
    ]
    assert choice.text == model.tokenizer.decode(expected)
    assert choice.finish_reason == "length"


@shared_loop
async def test_the_same_seed_gives_the_same_text_whatever_the_company(registry: ModelRegistry) -> None:
    """Alone, beside others of other lengths, with the cache on or off, streamed or whole."""
    use_case = completer(registry)
    request = asked(max_tokens=30, seed=7)
    alone = await one(use_case, request)
    others = [asked(f"{PROMPT} {i}", max_tokens=5 + 3 * i, seed=i) for i in range(8)]
    company = await asyncio.gather(one(use_case, request), *(one(use_case, other) for other in others))
    deltas = await streamed(use_case, request)

    assert company[0].text == alone.text
    assert (await one(completer(registry, cache_bytes=0), request)).text == alone.text
    assert "".join(delta.text for delta in deltas) == alone.text


@shared_loop
async def test_other_seeds_and_the_choices_of_one_request_differ(registry: ModelRegistry) -> None:
    use_case = completer(registry)
    choices, _ = await complete(use_case, asked(max_tokens=20, seed=7, n=3))
    other = await one(use_case, asked(max_tokens=20, seed=8))

    assert len({other.text, *(choice.text for choice in choices)}) == 4


@shared_loop
async def test_several_prompts_keep_their_places(registry: ModelRegistry) -> None:
    """Index = prompt_index * n + i; and a prompt's text does not depend on the prompts beside it."""
    use_case = completer(registry)
    prompts = ["I will", "This movie", "It cost 25"]
    together, job = await complete(use_case, asked(prompts, max_tokens=6, seed=3, n=2))
    alone = [
        choice
        for prompt in prompts
        for choice in (await complete(use_case, asked(prompt, max_tokens=6, seed=3, n=2)))[0]
    ]

    assert [choice.index for choice in together] == list(range(6))
    assert [choice.text for choice in together] == [choice.text for choice in alone]
    assert job.usage.completion_tokens == 36


@shared_loop
async def test_streams_of_several_choices_come_mixed_and_add_up(registry: ModelRegistry) -> None:
    use_case = completer(registry)
    request = asked(["I will", "This movie"], max_tokens=8, seed=3, n=2, echo=True)
    whole, _ = await complete(use_case, request)
    deltas = await streamed(use_case, request)

    for choice in whole:
        mine = [delta for delta in deltas if delta.index == choice.index]
        assert "".join(delta.text for delta in mine) == choice.text
        assert [delta.finish_reason for delta in mine] == [None] * (len(mine) - 1) + [choice.finish_reason]


@shared_loop
async def test_token_ids_are_continued_like_the_text_they_spell(registry: ModelRegistry, model: LoadedModel) -> None:
    use_case = completer(registry)
    ids = model.tokenizer.encode(PROMPT).ids
    texts = [
        (await one(use_case, asked(prompt, max_tokens=8, seed=1))).text
        for prompt in (PROMPT, ids, [ids], [START_ID, *ids])
    ]

    assert len(set(texts)) == 1


@shared_loop
@pytest.mark.parametrize("words", [1, 40, 300])
async def test_echo_with_log_probabilities_scores_the_prompt(
    registry: ModelRegistry, model: LoadedModel, words: int
) -> None:
    """In parts of bounded size: the same numbers as from one run over everything."""
    prompt = " ".join(["I will see you tomorrow, or the day after."] * words)[: 12 * words]
    choices, job = await complete(completer(registry), asked(prompt, max_tokens=0, echo=True, logprobs=2))
    choice = choices[0]
    pieces = model.tokenizer.encode(prompt)
    scores = log_softmax(all_logits(model, [START_ID, *pieces.ids]))

    assert choice.text == prompt
    assert [entry.offset for entry in choice.entries] == pieces.starts
    assert "".join(entry.token for entry in choice.entries) == prompt
    assert (choice.entries[0].logprob, choice.entries[0].top) == (None, None)
    for position, entry in enumerate(choice.entries[1:], start=1):
        assert entry.logprob == pytest.approx(float(scores[position, pieces.ids[position]]), abs=1e-4)
        assert entry.top is not None
        assert max(entry.top.values()) == pytest.approx(float(scores[position].max()), abs=1e-4)
        assert 2 <= len(entry.top) <= 3
        assert entry.token in entry.top
    assert job.usage.prompt_tokens == len(pieces.ids)
    assert job.usage.completion_tokens == 0


@shared_loop
async def test_log_probabilities_of_generated_text_are_those_of_scoring_it(registry: ModelRegistry) -> None:
    """Whatever temperature and penalties drew it."""
    use_case = completer(registry)
    generated = await one(
        use_case, asked(max_tokens=9, temperature=2, frequency_penalty=1, logprobs=0, seed=5, logit_bias={END_ID: -100})
    )
    model = registry.get("lm-en")
    ids = [START_ID, *model.tokenizer.encode(PROMPT).ids]
    for entry in generated.entries:
        row = log_softmax(all_logits(model, ids)[-1])
        options = [t for t in range(len(row)) if math.isclose(float(row[t]), entry.logprob or 0.0, abs_tol=1e-4)]
        token = next(t for t in options if token_name(model, t) == entry.token)
        ids.append(token)

    assert len(generated.entries) == 9


def token_name(model: LoadedModel, token: int) -> str:
    piece = model.tokenizer.token_bytes(token)
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in piece)


@shared_loop
async def test_offsets_count_characters_of_prompt_and_completion(registry: ModelRegistry) -> None:
    choice = await one(
        completer(registry), asked("It's 25", max_tokens=6, temperature=0, logprobs=0, logit_bias={END_ID: -100})
    )
    offset = len("It's 25")
    for entry in choice.entries:
        assert entry.offset == offset
        offset += len(entry.token)


@shared_loop
async def test_a_stop_string_ends_the_text_and_is_not_in_it(registry: ModelRegistry) -> None:
    """Wherever it begins: also in the middle of a piece, and across pieces."""
    use_case = completer(registry)
    options: dict[str, Any] = {"max_tokens": 25, "seed": 11, "logit_bias": {END_ID: -100}, "logprobs": 0}
    whole = (await one(use_case, asked(**options))).text
    for start in range(1, len(whole) - 3, 3):
        stop = whole[start : start + 3]
        choice = await one(use_case, asked(stop=["never there", stop], **options))
        deltas = await streamed(use_case, asked(stop=["never there", stop], **options))

        assert choice.text == whole[: whole.index(stop)]
        assert choice.finish_reason == "stop"
        assert "".join(delta.text for delta in deltas) == choice.text
        assert [entry for delta in deltas for entry in delta.entries] == choice.entries
        assert all(entry.offset - len(PROMPT) < len(choice.text) for entry in choice.entries)


@shared_loop
async def test_the_end_of_the_document_ends_the_text(registry: ModelRegistry) -> None:
    """Its token has a log-probability and no text."""
    choices, job = await complete(
        completer(registry), asked(max_tokens=5, temperature=0, logprobs=1, logit_bias={END_ID: 100})
    )

    assert (choices[0].text, choices[0].finish_reason) == ("", "stop")
    assert [entry.token for entry in choices[0].entries] == ["</s>"]
    assert job.usage.completion_tokens == 1


@shared_loop
async def test_padding_and_start_are_never_generated(registry: ModelRegistry) -> None:
    choice = await one(
        completer(registry), asked(max_tokens=30, logprobs=0, logit_bias={0: 100, 1: 100}, temperature=2)
    )

    assert not {"<pad>", "<s>", ""} & {entry.token for entry in choice.entries}


@shared_loop
async def test_half_a_character_at_the_end_is_left_out_of_the_text(registry: ModelRegistry) -> None:
    model = registry.get("lm-zh")
    lead = next(t for t in range(model.manifest.vocab_size) if model.tokenizer.token_bytes(t) == b"\xe7")
    request = CompletionRequest.model_validate(
        {"model": "lm-zh", "prompt": "我", "max_tokens": 1, "temperature": 0, "logprobs": 0, "logit_bias": {lead: 100}}
    )
    choice = await one(completer(registry), request)

    assert choice.text == ""
    assert [entry.token for entry in choice.entries] == ["bytes:\\xe7"]


@shared_loop
@pytest.mark.parametrize("echo", [False, True])
async def test_a_character_that_token_ids_began_is_completed(registry: ModelRegistry, echo: bool) -> None:
    """Its first bytes stand in the prompt and its last comes: every choice has it whole, as the ids in one prompt would."""
    model = registry.get("lm-zh")
    *begun, last = [
        next(t for t in range(model.manifest.vocab_size) if model.tokenizer.token_bytes(t) == bytes([byte]))
        for byte in "😀".encode()
    ]
    common: dict[str, Any] = {"model": "lm-zh", "temperature": 0, "logprobs": 0, "echo": echo}
    bias = {last: 100}
    choices, _ = await complete(
        completer(registry), asked([*begun], **common, max_tokens=1, n=2, seed=1, logit_bias=bias)
    )
    whole = await one(completer(registry), asked([*begun, last], **{**common, "echo": True}, max_tokens=0))

    assert [choice.text for choice in choices] == ["😀", "😀"]
    for choice in choices:
        entries = whole.entries if echo else whole.entries[-1:]
        assert [(e.token, e.offset) for e in choice.entries] == [(e.token, e.offset) for e in entries]


@shared_loop
async def test_best_of_returns_the_likeliest_per_token(registry: ModelRegistry) -> None:
    use_case = completer(registry)
    options: dict[str, Any] = {"max_tokens": 8, "seed": 2, "logprobs": 0}
    candidates, _ = await complete(use_case, asked(n=5, **options))
    best, job = await complete(use_case, asked(n=2, best_of=5, **options))

    def mean(choice: Choice) -> float:
        return sum(entry.logprob or 0.0 for entry in choice.entries) / len(choice.entries)

    ranked = sorted(candidates, key=mean, reverse=True)
    assert [choice.text for choice in best] == [choice.text for choice in ranked[:2]]
    assert [choice.index for choice in best] == [0, 1]
    assert job.usage.completion_tokens >= 8


@shared_loop
async def test_a_prompt_that_was_read_before_is_not_read_again(registry: ModelRegistry) -> None:
    """Usage says so; a longer text that begins with prompt and completion profits, too."""
    use_case = completer(registry)
    request = asked(max_tokens=4, temperature=0, logit_bias={END_ID: -100})
    (first,), cold = await complete(use_case, request)
    _, warm = await complete(use_case, request)
    ids = registry.get("lm-en").tokenizer.encode(PROMPT).ids
    _, scored = await complete(use_case, asked(max_tokens=1, echo=True, logprobs=0))

    assert cold.usage.cached_tokens == 0
    assert warm.usage.cached_tokens == len(ids) - 1
    assert scored.usage.cached_tokens == 0  # every position's logits are asked for
    longer = greedy(registry.get("lm-en"), ids, 4)
    _, continued = await complete(use_case, asked([*ids, *longer], max_tokens=1))
    assert continued.usage.cached_tokens == len(ids) + 3
    assert first.text


@shared_loop
async def test_callers_do_not_share_states(registry: ModelRegistry) -> None:
    use_case = completer(registry)
    for caller in ("a", "b"):
        job = await use_case.start(asked(max_tokens=1), caller)
        await use_case.complete(job)
        assert job.usage.cached_tokens == 0


@shared_loop
async def test_a_short_request_is_not_held_up_by_long_ones(registry: ModelRegistry) -> None:
    """It joins their steps and leaves when it is done."""
    use_case = completer(registry)
    long = [
        asyncio.ensure_future(one(use_case, asked(max_tokens=400, seed=i, logit_bias={END_ID: -100}))) for i in range(6)
    ]
    await asyncio.sleep(0.01)
    await one(use_case, asked(max_tokens=3))

    assert not any(task.done() for task in long)
    for task in long:
        task.cancel()
    await asyncio.gather(*long, return_exceptions=True)


@shared_loop
async def test_a_generation_that_was_let_in_is_not_refused_later(
    registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full queue turns new work away, not the next step of what is half done."""
    use_case = completer(registry)
    jobs = [await use_case.start(asked(max_tokens=20, seed=i, logit_bias={END_ID: -100})) for i in range(8)]
    monkeypatch.setattr(registry.get("lm-en").batcher, "_admission", AdmissionPolicy(max_queued_rows=1))
    finished = await asyncio.gather(*(use_case.complete(job) for job in jobs))

    assert all(choices[0].finish_reason == "length" for choices in finished)
    with pytest.raises(OverloadedError):
        await use_case.start(asked([f"Something new {i}" for i in range(8)], max_tokens=1))


@shared_loop
async def test_cancelling_a_request_ends_all_of_its_generations(registry: ModelRegistry) -> None:
    use_case = completer(registry)
    job = await use_case.start(asked(max_tokens=4000, n=3, logit_bias={END_ID: -100}))
    task = asyncio.ensure_future(use_case.complete(job))
    await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0.01)
    generated = job.usage.completion_tokens
    await asyncio.sleep(0.02)

    assert 0 < generated == job.usage.completion_tokens < 12_000


@shared_loop
async def test_a_model_run_that_fails_ends_one_generation_alone(
    registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its neighbours in the batch get the text that they would have had."""
    use_case = completer(registry)
    expected = (await one(use_case, asked(max_tokens=12, seed=1, logit_bias={END_ID: -100}))).text
    engine = registry.get("lm-en").engine
    run = engine.run
    poisoned = 10.0  # the state of the row that fails

    def failing(input_ids: IntArray, lengths: IntArray, state: FloatArray, keep: int) -> tuple[FloatArray, FloatArray]:
        if (state[:, 0] == poisoned).any():
            raise ModelRunError("no")
        return run(input_ids, lengths, state, keep)

    monkeypatch.setattr(engine, "run", failing)
    job = await use_case.start(asked(max_tokens=12, seed=2, logit_bias={END_ID: -100}))
    assert job.prompts[0].state is not None
    job.prompts[0].state[0] = poisoned
    healthy, failed = await asyncio.gather(
        one(use_case, asked(max_tokens=12, seed=1, logit_bias={END_ID: -100})),
        use_case.complete(job),
        return_exceptions=True,
    )

    assert isinstance(failed, ModelRunError)
    assert isinstance(healthy, Choice)
    assert healthy.text == expected


@shared_loop
async def test_one_failing_choice_ends_a_stream_of_several(
    registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_case = completer(registry)
    job = await use_case.start(asked(max_tokens=50, n=2, logit_bias={END_ID: -100}))
    engine = registry.get("lm-en").engine
    run, calls = engine.run, 0

    def failing(*arguments: Any) -> tuple[FloatArray, FloatArray]:
        nonlocal calls
        calls += 1
        if calls > 5:
            raise ModelRunError("no")
        return run(*arguments)

    monkeypatch.setattr(engine, "run", failing)
    deltas: list[Delta] = []

    async def collect() -> None:
        async for delta in use_case.stream(job):
            deltas.append(delta)  # noqa: PERF401  # what came before the error is looked at

    with pytest.raises(ModelRunError):
        await collect()

    assert {delta.index for delta in deltas} == {0, 1}


@shared_loop
@pytest.mark.parametrize(
    ("options", "pointer", "code"),
    [
        ({"prompt": ""}, "/prompt", "blank"),
        ({"prompt": []}, "/prompt", "too_few"),
        ({"prompt": [[]]}, "/prompt/0", "blank"),
        ({"prompt": ["a", ""]}, "/prompt/1", "blank"),
        ({"prompt": [3, 10**6]}, "/prompt", "out_of_range"),
        ({"prompt": [[3], [-1]]}, "/prompt/1", "out_of_range"),
        ({"prompt": [3, 0]}, "/prompt", "out_of_range"),
        ({"prompt": "\ud800"}, "/prompt", "lone_surrogate"),
        ({"prompt": "a" * 301}, "/prompt", "too_long"),
        ({"max_tokens": 101}, "/max_tokens", "too_large"),
        ({"prompt": ["a"] * 9}, "/prompt", "too_many"),
        ({"n": 3, "best_of": 2}, "/best_of", "too_small"),
        ({"best_of": 2, "stream": True}, "/best_of", "not_with_stream"),
        ({"stream_options": {"include_usage": True}}, "/stream_options", "only_with_stream"),
        ({"logit_bias": {10**6: 1.0}}, "/logit_bias", "out_of_range"),
        ({"logit_bias": {10**6 + i: 1.0 for i in range(9)}}, "/logit_bias", "out_of_range"),
    ],
)
async def test_bad_requests_are_named(
    registry: ModelRegistry, options: dict[str, Any], pointer: str, code: str
) -> None:
    use_case = completer(registry, max_chars=300, max_completion_tokens=100, max_choices=8)
    with pytest.raises(InvalidRequestError) as raised:
        await use_case.start(built(options))

    assert [(error.pointer, error.code) for error in raised.value.errors] == [(pointer, code)]


@shared_loop
async def test_a_prompt_whose_end_cannot_be_carried_is_named(registry: ModelRegistry) -> None:
    """OpenAI's ``param`` is made of it."""
    with pytest.raises(UnsettledTextError) as raised:
        await completer(registry).start(asked("a" * 600, return_state=True))

    assert [error.pointer for error in raised.value.errors] == ["/prompt"]


def built(options: dict[str, Any]) -> CompletionRequest:
    """As validated, but for a lone surrogate, which pydantic would not let in."""
    prompt = options.pop("prompt", PROMPT)
    request = asked(prompt if prompt != "\ud800" else PROMPT, **options)
    return request.model_copy(update={"prompt": prompt})


@shared_loop
async def test_a_sentiment_model_completes_nothing(registry: ModelRegistry) -> None:
    with pytest.raises(UnknownModelError):
        await completer(registry).start(CompletionRequest(model="sentiment-en", prompt="a"))


@pytest.mark.parametrize(
    "options",
    [
        {"logprobs": 6},
        {"temperature": 2.1},
        {"temperature": -0.1},
        {"top_p": 1.1},
        {"presence_penalty": 2.5},
        {"n": 0},
        {"n": 17},
        {"max_tokens": -1},
        {"stop": ["a"] * 5},
        {"stop": ""},
        {"stop": [""]},
        {"logit_bias": {"x": 1}},
        {"logit_bias": {"5": 101}},
        {"seed": 2**64},
        {"suffix": "end"},
        {"prompt": 5},
        {"prompt": ["a", 5]},
        {"prompt": [[5], "a"]},
        {"prompt": [True]},
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as raised:
        asked(**options)

    assert {str(error["loc"][0]) for error in raised.value.errors()} == set(options)
    assert len(raised.value.errors()) == 1


def test_null_is_the_default_and_unknown_fields_are_ignored() -> None:
    """Clients send many."""
    request = asked(
        max_tokens=None, temperature=None, stop=None, logit_bias=None, n=None, user=None, parallel_tool_calls=True
    )

    assert request == asked()


@shared_loop
@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 0.0},
        {"temperature": 1e-9},
        {"temperature": 2.0},
        {"top_p": 0.0},
        {"top_k": -1},
        {"top_k": 1},
        {"seed": -(2**63)},
        {"seed": 2**64 - 1},
        {"max_tokens": 0},
        {"max_tokens": 1},
    ],
)
async def test_options_at_their_limits_work(registry: ModelRegistry, options: dict[str, Any]) -> None:
    choice = await one(completer(registry), asked(**{"max_tokens": 4, **options}))

    assert choice.finish_reason in {"length", "stop"}


@shared_loop
async def test_top_p_zero_and_top_k_one_take_the_likeliest(registry: ModelRegistry) -> None:
    use_case = completer(registry)
    texts = {
        (await one(use_case, asked(max_tokens=6, **o))).text for o in ({"temperature": 0}, {"top_p": 0}, {"top_k": 1})
    }

    assert len(texts) == 1
