"""The recurrent trunk that both tasks share: embedding and RNN, LSTM or GRU layers; its past is one vector."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from pydantic import BaseModel, Field
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

Cell = Literal["rnn", "lstm", "gru"]
LAYERS: dict[Cell, Callable[..., nn.RNNBase]] = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
KERNELS: dict[str, Callable[..., Any]] = {"RNN_TANH": torch.rnn_tanh, "LSTM": torch.lstm, "GRU": torch.gru}


class TrunkConfig(BaseModel, extra="forbid", frozen=True):
    """Sizes of the trunk, named as PyTorch names them."""

    cell: Cell
    vocab_size: int = Field(ge=2)
    embedding_dim: int = Field(ge=1)
    hidden_size: int = Field(ge=1)
    num_layers: int = Field(default=1, ge=1)

    @property
    def vectors_per_layer(self) -> int:
        """One (h), or two (h and c)."""
        return 2 if self.cell == "lstm" else 1

    @property
    def state_size(self) -> int:
        """float32 numbers a text's past takes: for each layer h, then c (LSTM only)."""
        return self.num_layers * self.vectors_per_layer * self.hidden_size


class Trunk(nn.Module):
    """Embedding, then ``num_layers`` causal recurrent layers."""

    def __init__(self, config: TrunkConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.embedding_dim)
        sizes = [config.embedding_dim] + [config.hidden_size] * (config.num_layers - 1)
        cell = LAYERS[config.cell]
        self.layers = nn.ModuleList(cell(size, config.hidden_size, batch_first=True) for size in sizes)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Scale every input matrix to what it reads, so that the gates start in their live range.

        With torch's default, the embedding's small numbers make a stacked cell start almost blind to its input.
        """
        nn.init.uniform_(self.embedding.weight, -0.1, 0.1)
        for depth, layer in enumerate(self.layers):
            start_layer(layer, input_std=0.058 if depth == 0 else 0.2)  # of U(-0.1, 0.1), and of a layer's output

    def forward(
        self,
        input_ids: Tensor,
        lengths: Tensor | None = None,
        state: Tensor | None = None,
        dropout: Dropouts | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Read a batch of texts, or the next piece of each.

        Args:
            input_ids: (B, T) token ids.
            lengths: (B,) real tokens of each row; without it all rows are T long.
            state: (B, S) where each text stands; without it at its start.
            dropout: masks to apply (training only).

        Returns:
            (B, T, H) the last layer's output after every token, and (B, S) the state after each row's own length.
        """
        config = self.config
        if state is None:
            state = torch.zeros(len(input_ids), config.state_size, device=input_ids.device)
        vectors = state.to(self.embedding.weight.dtype).split(config.hidden_size, dim=1)  # each (B, H)
        x = self.embedding(input_ids) if dropout is None else dropout.embed(self.embedding, input_ids)  # -> (B, T, E)
        after: list[Tensor] = []
        for depth, layer in enumerate(self.layers):
            start = vectors[depth * config.vectors_per_layer :][: config.vectors_per_layer]
            run = layer if dropout is None else dropout.recur(layer)
            x, end = _run_layer(run, x, lengths, [vector.unsqueeze(0) for vector in start])  # -> (B, T, H)
            after += end
            if dropout is not None:
                x = dropout.between(x) if depth + 1 < config.num_layers else dropout.output(x)
        return x, torch.cat(after, dim=1).float()


def start_layer(layer: nn.Module, input_std: float) -> None:
    """Initialise a recurrent layer for inputs of a given standard deviation; an LSTM's forget gate starts open."""
    weight = layer.get_parameter("weight_ih_l0")
    nn.init.normal_(weight, std=0.5 / (weight.shape[1] ** 0.5 * input_std))
    if isinstance(layer, nn.LSTM):  # gates lie as i, f, g, o
        forget = slice(layer.hidden_size, 2 * layer.hidden_size)
        nn.init.ones_(layer.get_parameter("bias_ih_l0")[forget])
        nn.init.zeros_(layer.get_parameter("bias_hh_l0")[forget])


def _run_layer(
    layer: Callable[..., Any], x: Tensor, lengths: Tensor | None, start: list[Tensor]
) -> tuple[Tensor, list[Tensor]]:
    """One layer over (B, T, ·); returns its output (B, T, H) and its end vectors, each (B, H)."""
    first = tuple(v.contiguous() for v in start) if len(start) == 2 else start[0].contiguous()
    if lengths is None:
        x, end = layer(x, first)
    else:
        packed = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
        packed, end = layer(packed, first)
        x, _ = pad_packed_sequence(packed, batch_first=True, total_length=x.shape[1])
    return x, [v[0] for v in (end if isinstance(end, tuple) else (end,))]


class _Reweighted:
    """A recurrent layer with other weights than its own, run by the same fused kernel.

    Args:
        layer: one layer, one direction, ``batch_first``.
        weights: its input matrix, recurrent matrix and two biases, or what takes their place.
    """

    def __init__(self, layer: nn.RNNBase, weights: list[Tensor]) -> None:
        self._kernel, self._weights = KERNELS[layer.mode], weights

    def __call__(self, x: Any, start: Any) -> tuple[Any, Any]:
        """As the layer's forward, of (B, T, ·) or of a packed sequence; ``start`` is (1, B, H), for an LSTM two of it."""
        how = (self._weights, True, 1, 0.0, True, False)  # biases, one layer, no dropout above it, training, one way
        if not isinstance(x, PackedSequence):
            out, *end = self._kernel(x, start, *how, True)
            return out, tuple(end)
        order, back = x.sorted_indices, x.unsorted_indices  # a packed sequence holds its rows longest first
        first = tuple(_rows(vector, order) for vector in start) if isinstance(start, tuple) else _rows(start, order)
        out, *end = self._kernel(x.data, x.batch_sizes, first, *how)
        return PackedSequence(out, x.batch_sizes, order, back), tuple(_rows(vector, back) for vector in end)


def _rows(vector: Tensor, order: Tensor | None) -> Tensor:
    return vector if order is None else vector.index_select(1, order)


class Dropouts:
    """Locked dropout, one mask per row for all its time steps; embedding rows and recurrent weights dropped per batch.

    Source: Gal & Ghahramani 2016 (arXiv:1512.05287); Merity et al. 2017 (arXiv:1708.02182).

    Args:
        rows: share of the vocabulary's rows dropped from a batch.
        inputs: share of the embedding's dimensions.
        layers: share of the dimensions between layers.
        outputs: share of the last layer's dimensions.
        recurrent: share of each layer's recurrent matrix (DropConnect): one mask for all rows and time steps of a batch.
    """

    def __init__(
        self,
        rows: float = 0.0,
        inputs: float = 0.0,
        layers: float = 0.0,
        outputs: float = 0.0,
        recurrent: float = 0.0,
    ) -> None:
        self.rows, self.inputs, self.layers, self.outputs = rows, inputs, layers, outputs
        self.recurrent = recurrent

    def embed(self, embedding: nn.Embedding, input_ids: Tensor) -> Tensor:
        """(B, T) -> (B, T, E), with dropped vocabulary rows and a locked mask."""
        weight = embedding.weight
        if self.rows:
            keep = torch.rand(len(weight), 1, device=weight.device) >= self.rows
            x = nn.functional.embedding(input_ids, weight) * (keep[input_ids] / (1 - self.rows))
        else:
            x = nn.functional.embedding(input_ids, weight)
        return _locked(x, self.inputs)

    def recur(self, layer: nn.Module) -> Callable[..., Any]:
        """The layer, or what runs it with a part of its recurrent weights dropped; called as the layer is."""
        if not self.recurrent or not isinstance(layer, nn.RNNBase):
            return layer
        dropped = nn.functional.dropout(layer.get_parameter("weight_hh_l0"), self.recurrent)
        weight_ih, bias_ih, bias_hh = (layer.get_parameter(f"{n}_l0") for n in ("weight_ih", "bias_ih", "bias_hh"))
        return _Reweighted(layer, [weight_ih, dropped, bias_ih, bias_hh])

    def between(self, x: Tensor) -> Tensor:
        """Between two layers; (B, T, H) in and out."""
        return _locked(x, self.layers)

    def output(self, x: Tensor) -> Tensor:
        """After the last layer; (B, T, H) in and out."""
        return _locked(x, self.outputs)


def _locked(x: Tensor, p: float) -> Tensor:
    if not p:
        return x
    mask = torch.rand(x.shape[0], 1, x.shape[2], device=x.device, dtype=x.dtype) >= p
    return x * mask / (1 - p)
