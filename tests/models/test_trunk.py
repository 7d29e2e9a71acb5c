"""Tests of models/trunk.py."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.precision import low_precision
from models.trunk import Cell, Dropouts, Trunk, TrunkConfig

CELLS: tuple[Cell, ...] = ("rnn", "lstm", "gru")
TOLERANCE = 1e-6  # float32, numbers below 1: only the order of sums differs


def trunk_of(cell: Cell, num_layers: int = 2) -> Trunk:
    """A tiny trunk with weights large enough that its past matters."""
    torch.manual_seed(1)
    return Trunk(TrunkConfig(cell=cell, vocab_size=20, embedding_dim=5, hidden_size=7, num_layers=num_layers)).eval()


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("num_layers", [1, 3])
def test_the_state_holds_every_layers_vectors(cell: Cell, num_layers: int) -> None:
    """S is what the config says: h for each layer, and c as well for an LSTM."""
    config = trunk_of(cell, num_layers).config
    _, state = trunk_of(cell, num_layers)(torch.tensor([[3, 4]]))

    assert state.shape == (1, config.state_size) == (1, num_layers * 7 * (2 if cell == "lstm" else 1))


@pytest.mark.parametrize("cell", CELLS)
@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_a_text_in_pieces_is_the_text_as_a_whole(cell: Cell, data: st.DataObject) -> None:
    """Wherever a text is divided, carrying the state on gives the same outputs and the same final state."""
    trunk = trunk_of(cell)
    ids = data.draw(st.lists(st.integers(0, 19), min_size=2, max_size=12))
    at = data.draw(st.integers(1, len(ids) - 1))

    with torch.no_grad():
        whole, whole_state = trunk(torch.tensor([ids]))
        first, middle = trunk(torch.tensor([ids[:at]]))
        second, end = trunk(torch.tensor([ids[at:]]), None, middle)

    assert torch.allclose(torch.cat([first, second], dim=1), whole, atol=TOLERANCE)
    assert torch.allclose(end, whole_state, atol=TOLERANCE)


@pytest.mark.parametrize("cell", CELLS)
def test_padding_and_batch_mates_change_nothing(cell: Cell) -> None:
    """A row's state is that after its own length, whatever stands behind it or beside it."""
    trunk = trunk_of(cell)
    ids = torch.tensor([[3, 4, 5, 19, 19], [6, 7, 8, 9, 10]])

    with torch.no_grad():
        h, state = trunk(ids, torch.tensor([3, 5]))
        alone, alone_state = trunk(ids[:1, :3])

    assert torch.allclose(h[:1, :3], alone, atol=TOLERANCE)
    assert torch.allclose(state[:1], alone_state, atol=TOLERANCE)


@pytest.mark.parametrize("cell", CELLS)
def test_no_output_knows_the_future(cell: Cell) -> None:
    """Causal: changing a token changes nothing before it."""
    trunk = trunk_of(cell)
    with torch.no_grad():
        a, _ = trunk(torch.tensor([[3, 4, 5, 6]]))
        b, _ = trunk(torch.tensor([[3, 4, 5, 7]]))

    assert torch.equal(a[:, :3], b[:, :3])
    assert not torch.allclose(a[:, 3], b[:, 3])


def test_the_forget_gate_starts_open() -> None:
    """An LSTM's forget bias sums to 1 at the start, so that gradients reach back from the first step."""
    for layer in trunk_of("lstm").layers:
        bias = layer.get_parameter("bias_ih_l0") + layer.get_parameter("bias_hh_l0")
        assert torch.equal(bias[7:14], torch.ones(7))


@pytest.mark.parametrize("cell", CELLS)
def test_the_gates_see_their_input_from_the_start(cell: Cell) -> None:
    """The input's share of the pre-activations has a standard deviation near 0.5, neither dead nor saturated."""
    torch.manual_seed(0)
    trunk = Trunk(TrunkConfig(cell=cell, vocab_size=500, embedding_dim=64, hidden_size=64))
    x = trunk.embedding.weight.detach() @ trunk.layers[0].get_parameter("weight_ih_l0").detach().T

    assert 0.4 < float(x.std()) < 0.6


def test_dropout_masks_are_locked_over_time() -> None:
    """What is dropped from a row is dropped at all its steps, and rows have masks of their own."""
    dropout = Dropouts(inputs=0.5, layers=0.5, outputs=0.5)
    embedding = torch.nn.Embedding(4, 64)
    torch.nn.init.ones_(embedding.weight)
    for x in (
        dropout.embed(embedding, torch.zeros(3, 6, dtype=torch.int64)),
        dropout.between(torch.ones(3, 6, 64)),
        dropout.output(torch.ones(3, 6, 64)),
    ):
        assert torch.equal(x, x[:, :1].expand_as(x))
        assert set(x.unique().tolist()) == {0.0, 2.0}
        assert not torch.equal(x[0], x[1])


def test_a_dropped_vocabulary_row_is_dropped_wherever_it_occurs() -> None:
    """Embedding dropout takes whole pieces out of a batch and scales the others, so that the mean stays."""
    embedding = torch.nn.Embedding(50, 3)
    torch.nn.init.ones_(embedding.weight)
    ids = torch.arange(50).repeat(2, 3)

    x = Dropouts(rows=0.5).embed(embedding, ids)

    by_piece = x.reshape(2, 3, 50, 3)
    assert torch.equal(by_piece, by_piece[:1, :1, :, :1].expand_as(by_piece))
    assert set(x.unique().tolist()) == {0.0, 2.0}


def test_without_dropout_nothing_is_masked() -> None:
    """All rates 0, the default, leave every number as it is."""
    x = torch.randn(2, 3, 4)

    assert torch.equal(Dropouts().between(x), x)
    assert torch.equal(Dropouts().output(x), x)


# -- DropConnect -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("lengths", [None, [2, 4, 3]])
def test_the_reweighted_kernel_is_the_layers_own(
    cell: Cell, lengths: list[int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With nothing dropped, the kernel that DropConnect calls gives the module's own outputs and state, padded or not."""
    trunk = trunk_of(cell)
    ids, state = torch.randint(20, (3, 4)), torch.randn(3, trunk.config.state_size)
    row_lengths = None if lengths is None else torch.tensor(lengths)
    monkeypatch.setattr(torch.nn.functional, "dropout", lambda weight, p: weight)

    with torch.no_grad():
        own = trunk(ids, row_lengths, state)
        through_kernel = trunk(ids, row_lengths, state, Dropouts(recurrent=0.5))

    assert all(torch.allclose(a, b, atol=TOLERANCE) for a, b in zip(own, through_kernel, strict=True))


@pytest.mark.parametrize("cell", CELLS)
def test_no_recurrent_dropout_runs_the_layer_itself(cell: Cell) -> None:
    """Nothing dropped costs nothing and changes nothing, not even the random state."""
    trunk = trunk_of(cell)
    before = torch.get_rng_state()

    assert Dropouts(recurrent=0.0).recur(trunk.layers[0]) is trunk.layers[0]
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("cell", CELLS)
def test_recurrent_weights_are_dropped_once_per_batch(cell: Cell) -> None:
    """Equal rows stay equal through all time steps of a batch; the next batch meets another mask."""
    trunk = trunk_of(cell)
    ids, state = torch.randint(20, (1, 9)).expand(3, 9), torch.ones(3, trunk.config.state_size)
    dropout = Dropouts(recurrent=0.5)

    h, _ = trunk(ids, None, state, dropout)
    again, _ = trunk(ids, None, state, dropout)

    assert torch.allclose(h, h[:1].expand_as(h), atol=TOLERANCE)
    assert not torch.allclose(h, again, atol=TOLERANCE)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("low", [False, True])
def test_gradients_reach_the_recurrent_weights_that_were_kept(cell: Cell, low: bool) -> None:
    """DropConnect learns: the parameter itself is trained, dropped weights get nothing, also under bfloat16 autocast."""
    if low and low_precision("cpu") is not torch.bfloat16:
        pytest.skip("training is in float32 on this CPU")
    trunk = trunk_of(cell).train()
    with torch.autocast("cpu", torch.bfloat16, enabled=low):
        h, _ = trunk(torch.randint(20, (4, 6)), None, None, Dropouts(recurrent=0.5))
    h.float().square().sum().backward()

    for layer in trunk.layers:
        gradient = layer.get_parameter("weight_hh_l0").grad
        assert gradient is not None
        assert 0.25 < (gradient == 0).float().mean() < 0.75
        assert layer.get_parameter("weight_ih_l0").grad is not None
