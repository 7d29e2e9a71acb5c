"""State tokens: what was sealed comes back exactly, to the same caller, model and time, and any other token is refused."""

from __future__ import annotations

import base64

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from service.errors import (
    ServiceError,
    StateTokenExpiredError,
    StateTokenMalformedError,
    StateTokenTamperedError,
    StateTokenTooLargeError,
    StateTokenUnknownKeyError,
    StateTokenWrongCallerError,
    StateTokenWrongModelError,
)
from service.state_token import (
    MAX_TOKEN_CHARACTERS,
    CarriedState,
    StateSealer,
    bundle_fingerprint,
    generate_key,
    parse_keys,
)

FloatArray = NDArray[np.float32]

OLD_KEY, NEW_KEY = bytes(range(32)), bytes(range(32, 64))
BUNDLE, OTHER_BUNDLE = "11" * 32, "22" * 32
CALLER = "key-7"
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


class Clock:
    """A clock that tests set."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def carried_state(size: int = 5, tail: str = "tom") -> CarriedState:
    state = np.random.default_rng(size).standard_normal(size).astype(np.float32)
    return CarriedState(state, tail, tokens=4, characters=13)


def sealer(*keys: bytes, clock: Clock | None = None, lifetime_s: float = 60.0) -> StateSealer:
    return StateSealer(keys or (NEW_KEY,), clock or Clock(), lifetime_s)


TOKEN = sealer().seal(carried_state(), BUNDLE, CALLER)

finite_bits = st.integers(0, 2**32 - 1)
any_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)  # lone surrogates are refused by the schema


@settings(deadline=None)
@given(
    bits=st.lists(finite_bits, max_size=50),
    tail=any_text,
    tokens=st.integers(0, 2**63),
    characters=st.integers(0, 2**63),
)
def test_a_state_comes_back_bit_for_bit(bits: list[int], tail: str, tokens: int, characters: int) -> None:
    """Every bit pattern survives, NaN payloads and signed zeros too; all that goes with the state comes back equal."""
    state = np.array(bits, dtype=np.uint32).view(np.float32)

    token = sealer().seal(CarriedState(state, tail, tokens, characters), BUNDLE, CALLER)
    bundle, opened = sealer().open(token, [BUNDLE], CALLER)

    assert opened.state.dtype == np.float32
    assert opened.state.tobytes() == state.tobytes()
    assert (bundle, opened.tail) == (BUNDLE, tail)
    assert (opened.tokens, opened.characters) == (tokens, characters)


def test_an_opened_state_can_be_written_to() -> None:
    """It is the caller's own array, not a view of the token."""
    _, opened = sealer().open(TOKEN, [BUNDLE], CALLER)
    opened.state[0] = 1.0


def test_a_row_of_a_batch_can_be_sealed() -> None:
    """The state may be any view, as the engine's outputs are."""
    batch = np.arange(12, dtype=np.float32).reshape(4, 3).T
    carried = CarriedState(batch[1], "", tokens=1, characters=1)

    _, opened = sealer().open(sealer().seal(carried, BUNDLE, CALLER), [BUNDLE], CALLER)

    assert opened.state.tolist() == batch[1].tolist()


def test_a_token_is_url_safe_text() -> None:
    assert set(TOKEN) <= set(ALPHABET)


def test_the_largest_shipped_states_stay_under_16_kib() -> None:
    """2,048 numbers and 1,000 bytes of text fit with room to spare; 2,900 numbers still do."""
    assert len(sealer().seal(carried_state(2048, tail="x" * 1000), BUNDLE, CALLER)) < 13 * 1024
    assert len(sealer().seal(carried_state(2900), BUNDLE, CALLER)) < 16 * 1024


def test_a_token_that_would_be_too_large_is_not_made() -> None:
    """A word without an end cannot grow a token without limit, and no token is made that ``open`` would refuse."""
    with pytest.raises(StateTokenTooLargeError, match=str(MAX_TOKEN_CHARACTERS)):
        sealer().seal(carried_state(tail="x" * 16_000), BUNDLE, CALLER)

    room = 0
    for room in range(12_000, 12_300):
        try:
            token = sealer().seal(carried_state(0, tail="x" * room), BUNDLE, CALLER)
        except StateTokenTooLargeError:
            break
        sealer().open(token, [BUNDLE], CALLER)
    assert 12_000 < room < 12_299


def test_two_tokens_of_the_same_state_have_nothing_in_common() -> None:
    """An observer cannot tell that two texts stand at the same point (the first 7 characters are version and key id)."""
    other = sealer().seal(carried_state(), BUNDLE, CALLER)

    equal = sum(one == two for one, two in zip(TOKEN[48:], other[48:], strict=True))

    assert equal < len(TOKEN) / 8


def test_neither_text_nor_caller_can_be_read_from_a_token() -> None:
    raw = base64.urlsafe_b64decode(TOKEN + "=" * (-len(TOKEN) % 4))

    assert b"see you" not in raw
    assert CALLER.encode() not in raw
    assert bytes.fromhex(BUNDLE) not in raw


def test_changing_any_character_is_noticed() -> None:
    for position, character in enumerate(TOKEN):
        for step in (1, 17, 32):
            replacement = ALPHABET[(ALPHABET.index(character) + step) % 64]
            with pytest.raises(ServiceError) as refusal:
                sealer().open(TOKEN[:position] + replacement + TOKEN[position + 1 :], [BUNDLE], CALLER)
            assert refusal.type in {StateTokenMalformedError, StateTokenTamperedError, StateTokenUnknownKeyError}


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_flipping_any_bit_of_the_sealed_part_is_tampering(data: st.DataObject) -> None:
    """Whatever is changed behind the header, the refusal says so; header fields may be refused before that."""
    raw = bytearray(base64.urlsafe_b64decode(TOKEN + "=" * (-len(TOKEN) % 4)))
    bit = data.draw(st.integers(8 * 33, 8 * len(raw) - 1))
    raw[bit // 8] ^= 1 << bit % 8

    with pytest.raises(StateTokenTamperedError):
        sealer().open(base64.urlsafe_b64encode(bytes(raw)).decode().rstrip("="), [BUNDLE], CALLER)


@pytest.mark.parametrize("length", [0, 1, 2, 10, 44, 180, len(TOKEN) - 5, len(TOKEN) - 2, len(TOKEN) - 1])
def test_a_token_cut_short_is_malformed(length: int) -> None:
    """It is told from tampering: a column too narrow or a broken copy is no attack."""
    with pytest.raises(StateTokenMalformedError):
        sealer().open(TOKEN[:length], [BUNDLE], CALLER)


@pytest.mark.parametrize(
    "text",
    [
        "hello",
        "=" * 8,
        TOKEN + "A",
        TOKEN + "=",
        TOKEN + "\n",
        " " + TOKEN,
        TOKEN[:9] + "+" + TOKEN[10:],
        "é" * 400,
        "A" * 20_000,
        "A" * 400,
    ],
)
def test_what_is_no_token_is_malformed(text: str) -> None:
    with pytest.raises(StateTokenMalformedError):
        sealer().open(text, [BUNDLE], CALLER)


@settings(deadline=None)
@given(st.text(max_size=300) | st.text(st.sampled_from(ALPHABET), max_size=600))
def test_no_text_at_all_breaks_it(text: str) -> None:
    with pytest.raises(ServiceError):
        sealer().open(text, [BUNDLE], CALLER)


def test_another_caller_is_refused_as_such() -> None:
    for caller in ("", "key-8", "KEY-7"):
        with pytest.raises(StateTokenWrongCallerError):
            sealer().open(TOKEN, [BUNDLE], caller)


def test_another_model_is_refused_as_such() -> None:
    with pytest.raises(StateTokenWrongModelError):
        sealer().open(TOKEN, [OTHER_BUNDLE], CALLER)


def test_a_token_expires() -> None:
    """It opens up to its last second and not after it."""
    clock = Clock(1000.0)
    token = sealer(clock=clock, lifetime_s=60).seal(carried_state(), BUNDLE, CALLER)

    clock.now = 1059.9
    sealer(clock=clock).open(token, [BUNDLE], CALLER)
    clock.now = 1060.0
    with pytest.raises(StateTokenExpiredError):
        sealer(clock=clock).open(token, [BUNDLE], CALLER)


def test_a_foreign_callers_token_does_not_say_whether_it_expired() -> None:
    with pytest.raises(StateTokenWrongCallerError):
        sealer(clock=Clock(9e9)).open(TOKEN, [BUNDLE], "key-8")


def test_keys_rotate_without_losing_a_token() -> None:
    """The first key seals, every key opens, a dropped key's tokens are refused as such."""
    old_token = sealer(OLD_KEY).seal(carried_state(), BUNDLE, CALLER)
    new_token = sealer(NEW_KEY, OLD_KEY).seal(carried_state(), BUNDLE, CALLER)

    sealer(NEW_KEY, OLD_KEY).open(old_token, [BUNDLE], CALLER)
    sealer(OLD_KEY, NEW_KEY).open(new_token, [BUNDLE], CALLER)
    sealer(NEW_KEY).open(new_token, [BUNDLE], CALLER)
    with pytest.raises(StateTokenUnknownKeyError):
        sealer(OLD_KEY).open(new_token, [BUNDLE], CALLER)


def test_keys_are_read_from_a_setting() -> None:
    """Both base64 alphabets, blanks around the commas."""
    key = bytes([251, 255]) * 16
    standard, url_safe = base64.b64encode(key).decode(), base64.urlsafe_b64encode(OLD_KEY[::-1]).decode()

    assert parse_keys(f"{standard} , {url_safe}") == (key, OLD_KEY[::-1])
    assert parse_keys(base64.urlsafe_b64encode(key).decode()) == (key,)


def test_a_generated_key_is_a_valid_setting_and_new_each_time() -> None:
    assert parse_keys(generate_key()) != parse_keys(generate_key())


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("", "key 1 has 0 bytes"),
        ("c2hvcnQ=", "key 1 has 5 bytes"),
        ("*", "key 1 is not base64"),
        ("schlüssel", "key 1 is not base64"),
        (f"{base64.b64encode(OLD_KEY).decode()},", "key 2 has 0 bytes"),
        (f"{base64.b64encode(OLD_KEY).decode()},{base64.b64encode(OLD_KEY).decode()}", "key 2 stands twice"),
    ],
)
def test_a_bad_key_is_named_by_its_number_and_never_repeated(setting: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as refusal:
        parse_keys(setting)
    assert not setting or setting not in str(refusal.value)


@pytest.mark.parametrize(
    ("keys", "lifetime_s"), [((), 60.0), ((b"short",), 60.0), ((OLD_KEY, OLD_KEY), 60.0), ((OLD_KEY,), 0.0)]
)
def test_a_sealer_refuses_bad_keys_and_lifetimes(keys: tuple[bytes, ...], lifetime_s: float) -> None:
    with pytest.raises(ValueError, match=r"key|lifetime_s"):
        StateSealer(keys, Clock(), lifetime_s)


def test_the_fingerprint_follows_the_three_files_that_give_a_state_its_meaning() -> None:
    """A new model card leaves tokens valid; another graph, other weights or another tokeniser does not."""
    files = {"model.onnx": "aa", "model.safetensors": "bb", "tokenizer.json": "cc", "config.json": "dd"}

    assert bundle_fingerprint({**files, "config.json": "ee"}) == bundle_fingerprint(files)
    for name in ("model.onnx", "model.safetensors", "tokenizer.json"):
        assert bundle_fingerprint({**files, name: "ff"}) != bundle_fingerprint(files)
    with pytest.raises(KeyError):
        bundle_fingerprint({"model.onnx": "aa"})


def test_every_refusal_has_a_code_of_its_own() -> None:
    """A client can tell what to do: start again, send the whole token, or ask with its own key."""
    refusals = [
        StateTokenMalformedError,
        StateTokenTamperedError,
        StateTokenExpiredError,
        StateTokenWrongModelError,
        StateTokenWrongCallerError,
        StateTokenUnknownKeyError,
        StateTokenTooLargeError,
    ]

    assert len({refusal.code for refusal in refusals}) == len(refusals)
