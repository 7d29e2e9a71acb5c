"""State tokens: a text's recurrent state, sealed, so that its caller can carry it to any replica and go on from there.

A token is url-safe text over these bytes::

    version 1 | key id 4 | seed 24 | length of the rest 4 | sealed payload | tag 16
    payload: expires 8 | tokens 8 | characters 8 | S 4 | bundle SHA-256 32 | caller SHA-256 32
             | state, S little-endian float32 | tail, UTF-8

The AEAD is AES-256-GCM: every processor that a server runs on computes it in hardware (8 KiB in 2 µs, ChaCha20-Poly1305
in 3 µs). Its 96-bit nonce, too short to be drawn at random billions of times under one key, is no limit here: each token
has a key and a nonce of its own, derived by HMAC-SHA512 from the server's key and the token's 192-bit random seed.
The bytes before the payload are its associated data. Bundle and caller are bound inside the payload: both are
authenticated, neither can be read or compared from outside, and a refusal knows which of the two is foreign, which a failed
decryption could not tell from tampering.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import struct
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from numpy.typing import NDArray

from service.errors import (
    FieldError,
    ServiceError,
    StateTokenExpiredError,
    StateTokenMalformedError,
    StateTokenTamperedError,
    StateTokenTooLargeError,
    StateTokenUnknownKeyError,
    StateTokenWrongCallerError,
    StateTokenWrongModelError,
)

FloatArray = NDArray[np.float32]

KEY_BYTES = 32
MAX_TOKEN_CHARACTERS = 16 * 1024 - 1
STATE_FILES = ("model.onnx", "model.safetensors", "tokenizer.json")

_VERSION = 1
_HEADER = struct.Struct("<B4s24sI")
_FIELDS = struct.Struct("<QQQI32s32s")
_TAG_BYTES = 16
_KEY_ID_LABEL = b"rnnserve state token: key id"
_SEAL_LABEL = b"rnnserve state token: seal"


@dataclass(frozen=True, slots=True, eq=False)
class CarriedState:
    """Where a text stands: what the model has read, and the end of the text that it has not read yet."""

    state: FloatArray  # (S,) after `tokens` tokens
    tail: str  # text whose pieces may still change with what follows
    tokens: int  # tokens that the state has seen
    characters: int  # code points of the text before the tail


def bundle_fingerprint(files: Mapping[str, str]) -> str:
    """One SHA-256, as hex, over the files that give a state its meaning: graph, weights and tokeniser.

    Args:
        files: SHA-256 by file name, as the manifest lists them.

    Raises:
        KeyError: one of the three is not listed.
    """
    return hashlib.sha256("\n".join(f"{name} {files[name]}" for name in STATE_FILES).encode()).hexdigest()


def generate_key() -> str:
    """A new random key, written as ``parse_keys`` reads it."""
    return base64.b64encode(os.urandom(KEY_BYTES)).decode()


def parse_keys(setting: str) -> tuple[bytes, ...]:
    """Read keys from a setting: base64 (either alphabet) of 32 bytes each, separated by commas. The first one seals.

    Raises:
        ValueError: a key is not base64, has another length or stands twice, or there is none; no message repeats a key.
    """
    keys: list[bytes] = []
    for number, text in enumerate(setting.split(","), start=1):
        try:
            key = base64.b64decode(text.strip().translate({ord("-"): "+", ord("_"): "/"}), validate=True)
        except (binascii.Error, ValueError) as error:
            raise ValueError(f"state key {number} is not base64") from error
        if len(key) != KEY_BYTES:
            raise ValueError(f"state key {number} has {len(key)} bytes instead of {KEY_BYTES}")
        if key in keys:
            raise ValueError(f"state key {number} stands twice")
        keys.append(key)
    return tuple(keys)


class StateSealer:
    """Seals states into tokens and opens them again.

    To rotate: put the new key first on every replica, and drop the old one when its last token has expired. While the
    replicas restart one after the other, first add the new key in second place everywhere, so that all can open it.

    Args:
        keys: 32 bytes each; the first one seals, all of them open.
        now: seconds since the epoch. The wall clock, since a token outlives the process and crosses machines.
        lifetime_s: how long a token is good for.
    """

    def __init__(self, keys: Sequence[bytes], now: Callable[[], float], lifetime_s: float = 24 * 3600.0) -> None:
        if not keys:
            raise ValueError("at least one key is needed to seal a state")
        if any(len(key) != KEY_BYTES for key in keys):
            raise ValueError(f"every key must have {KEY_BYTES} bytes")
        if lifetime_s <= 0:
            raise ValueError(f"lifetime_s must be above 0, not {lifetime_s}")
        self._keys = {_key_id(key): key for key in keys}
        if len(self._keys) != len(keys):
            raise ValueError("the keys' ids must differ: a key stands twice")
        self._sealing_key_id = _key_id(keys[0])
        self._now = now
        self._lifetime_s = lifetime_s

    def seal(self, carried: CarriedState, bundle: str, caller: str) -> str:
        """Turn a state into a token of url-safe characters.

        Args:
            carried: the state and the unread end of the text.
            bundle: the ``bundle_fingerprint`` of the model whose state it is.
            caller: id of the API key that may use the token; "" when the service has no keys.

        Raises:
            StateTokenTooLargeError: the token would have 16 KiB or more.
        """
        state = np.ascontiguousarray(carried.state, dtype="<f4")
        tail = carried.tail.encode()
        payload = b"".join(
            (
                _FIELDS.pack(
                    int(self._now() + self._lifetime_s),
                    carried.tokens,
                    carried.characters,
                    state.size,
                    bytes.fromhex(bundle),
                    _digest(caller),
                ),
                state.tobytes(),
                tail,
            )
        )
        sealed_bytes = len(payload) + _TAG_BYTES
        size = -(-(_HEADER.size + sealed_bytes) * 4 // 3)
        if size > MAX_TOKEN_CHARACTERS:
            raise _refusal(
                StateTokenTooLargeError,
                f"the token would have {size} characters, above the limit of {MAX_TOKEN_CHARACTERS}: the text's last word is too long",
            )
        header = _HEADER.pack(_VERSION, self._sealing_key_id, os.urandom(24), sealed_bytes)
        key, nonce = _derive(self._keys[self._sealing_key_id], header)
        return _to_text(header + AESGCM(key).encrypt(nonce, payload, header))

    def open(self, token: str, bundles: Collection[str], caller: str) -> tuple[str, CarriedState]:
        """Check a token and take the state out of it.

        Args:
            token: what ``seal`` returned, here or on another replica with the same key.
            bundles: the ``bundle_fingerprint`` of each model that may go on.
            caller: id of the API key that sent the token; "" when the service has no keys.

        Returns:
            Which of the bundles the state belongs to, and the state.

        Raises:
            StateTokenMalformedError: not a token, cut short, or of a version that this service does not know.
            StateTokenUnknownKeyError: sealed with a key that this service does not have.
            StateTokenTamperedError: its bytes were changed.
            StateTokenWrongCallerError: it was given to another caller.
            StateTokenWrongModelError: it belongs to another model, or to another version of this one.
            StateTokenExpiredError: it is too old.
        """
        raw = _to_bytes(token)
        header, sealed = raw[: _HEADER.size], raw[_HEADER.size :]
        if len(sealed) < _FIELDS.size + _TAG_BYTES:
            raise _refusal(StateTokenMalformedError, "is too short for a state token")
        version, key_id, _, sealed_bytes = _HEADER.unpack(header)
        if version != _VERSION:
            raise _refusal(StateTokenMalformedError, "is no state token of a version that this service knows")
        if sealed_bytes != len(sealed):
            raise _refusal(StateTokenMalformedError, "is not complete: send the token exactly as it was received")
        if key_id not in self._keys:
            raise _refusal(
                StateTokenUnknownKeyError, "was sealed with a key that this service does not have: send the text again"
            )
        key, nonce = _derive(self._keys[key_id], header)
        try:
            payload = AESGCM(key).decrypt(nonce, sealed, header)
        except InvalidTag as error:
            raise _refusal(StateTokenTamperedError, "was altered after it was issued") from error
        # From here on every byte is one that a holder of the key wrote.
        expires, tokens, characters, state_size, bundle_sha256, caller_sha256 = _FIELDS.unpack_from(payload)
        if caller_sha256 != _digest(caller):
            raise _refusal(StateTokenWrongCallerError, "was issued to another caller")
        bundle = bundle_sha256.hex()
        if bundle not in bundles:
            raise _refusal(StateTokenWrongModelError, "was issued by another model or another version of this one")
        if self._now() >= expires:
            raise _refusal(StateTokenExpiredError, "has expired: send the text again")
        text_start = _FIELDS.size + 4 * state_size
        state = np.frombuffer(payload, dtype="<f4", count=state_size, offset=_FIELDS.size).astype(np.float32)
        return bundle, CarriedState(state, payload[text_start:].decode(), tokens, characters)


def _refusal(error: type[ServiceError], detail: str) -> ServiceError:
    return error(f"/state: {detail}", [FieldError("/state", error.code, detail)])


def _derive(key: bytes, header: bytes) -> tuple[bytes, bytes]:
    """The AES key and nonce that this one token has to itself."""
    derived = hmac.digest(key, _SEAL_LABEL + header, "sha512")
    return derived[:32], derived[32:44]


def _key_id(key: bytes) -> bytes:
    return hmac.digest(key, _KEY_ID_LABEL, "sha256")[:4]


def _digest(caller: str) -> bytes:
    return hashlib.sha256(caller.encode()).digest()


def _to_text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _to_bytes(token: str) -> bytes:
    """Decode strictly: one text for one token, so no character can be changed, dropped or added unnoticed."""
    if len(token) > MAX_TOKEN_CHARACTERS:
        raise _refusal(StateTokenMalformedError, f"is longer than any state token ({MAX_TOKEN_CHARACTERS} characters)")
    if not token.isascii():
        raise _refusal(StateTokenMalformedError, "is not url-safe base64")
    try:
        raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    except binascii.Error as error:
        raise _refusal(StateTokenMalformedError, "is not url-safe base64") from error
    if _to_text(raw) != token:
        raise _refusal(StateTokenMalformedError, "is not url-safe base64 as it was issued")
    return raw
