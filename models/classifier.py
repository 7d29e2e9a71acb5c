"""The sentiment classifier: a recurrent trunk, running pools, and a small head, with a prediction after every token."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import AfterValidator, BaseModel, Field
from torch import Tensor, nn

from models.trunk import Dropouts, Trunk, TrunkConfig

Pool = Literal["last", "mean", "boltzmann"]


def _distinct(pools: tuple[Pool, ...]) -> tuple[Pool, ...]:
    if len(set(pools)) < len(pools):
        raise ValueError("each pool may stand there once")
    return pools


Pools = Annotated[tuple[Pool, ...], Field(min_length=1), AfterValidator(_distinct)]


class ClassifierConfig(BaseModel, extra="forbid", frozen=True):
    """Architecture of a classifier."""

    trunk: TrunkConfig
    pools: Pools = ("last", "boltzmann")
    head_size: int = Field(default=64, ge=1)
    labels: tuple[str, ...] = ("negative", "positive")
    text_temperature: bool = False  # calibration set a temperature that depends on the text
    kinds: int = Field(default=0, ge=0)  # of texts that the temperature tells apart

    def pool_sizes(self) -> dict[str, int]:
        """What the pools carry on, in their order: name -> float32 numbers. ``last`` carries nothing, the trunk has it."""
        hidden = self.trunk.hidden_size
        of_pool: dict[Pool, dict[str, int]] = {
            "last": {},
            "mean": {"mean_sum": hidden, "mean_count": 1},
            "boltzmann": {"boltzmann_sum": hidden, "boltzmann_weight": hidden},
        }
        return {name: size for pool in self.pools for name, size in of_pool[pool].items()}

    @property
    def state_size(self) -> int:
        """The trunk's vectors, then the pools'."""
        return self.trunk.state_size + sum(self.pool_sizes().values())


class TextTemperature(nn.Linear):
    """A temperature within 1/e and e that depends on the text: texts of some kinds are harder than a classifier thinks, of others easier.

    It is ``exp(tanh(.))`` of a linear function of the head's hidden layer and, with ``kinds``, of the probabilities that a text is of each
    of these kinds. Source: Joy et al. 2023 (arXiv:2207.06211), with linear functions for their density model.

    Args:
        head_size: F, of the head's hidden layer.
        kinds: K, how many kinds of texts it tells apart.
    """

    def __init__(self, head_size: int, kinds: int = 0) -> None:
        super().__init__(head_size + kinds, 1)
        if kinds:
            self.kinds = nn.Linear(head_size, kinds)

    def inputs(self, features: Tensor) -> Tensor:
        """(..., F) -> (..., F + K): with the probabilities of the kinds, if it has any."""
        if self.in_features == features.shape[-1]:
            return features
        return torch.cat([features, torch.softmax(self.kinds(features), dim=-1)], dim=-1)

    def forward(self, features: Tensor) -> Tensor:
        """(..., F) -> (..., 1)."""
        return torch.exp(torch.tanh(super().forward(self.inputs(features))))


class Classifier(nn.Module):
    """A prediction after each token, from pools that have an exact running form with O(1) state.

    - ``last``: h_t.
    - ``mean``: sum h / t.
    - ``boltzmann``: sum h e^(a h) / sum e^(a h), per dimension with learned sharpness a: the mean at a = 0,
      towards the maximum as a grows. A running maximum has no ONNX operator; sums have CumSum.
    """

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__()
        self.config = config
        hidden = config.trunk.hidden_size
        self.trunk = Trunk(config.trunk)
        if "boltzmann" in config.pools:
            self.sharpness = nn.Parameter(torch.full((hidden,), 4.0))
        self.head = nn.Linear(len(config.pools) * hidden, config.head_size)
        self.out = nn.Linear(config.head_size, len(config.labels))
        if config.text_temperature:
            self.temperature = TextTemperature(config.head_size, config.kinds)

    def forward(
        self,
        input_ids: Tensor,
        lengths: Tensor,
        state: Tensor | None = None,
        dropout: Dropouts | None = None,
        head_dropout: tuple[float, float] = (0.0, 0.0),
        final_only: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Args as for :meth:`Trunk.forward`; ``head_dropout`` before and inside the head.

        Returns:
            (B, T, C) logits after every token and (B, S) the state after each row's own length; or, with ``final_only``
            (training), (B, C) logits after each row's last token and no meaningful state, which spares packing.
        """
        pooled, after = self._pooled(input_ids, lengths, state, dropout, final_only)
        before, inside = head_dropout
        features = torch.relu(self.head(nn.functional.dropout(pooled, before, self.training)))
        return self.logits(nn.functional.dropout(features, inside, self.training)), after

    def final_features(self, input_ids: Tensor, lengths: Tensor) -> Tensor:
        """(B, head_size): what :meth:`logits` takes, after each row's last token."""
        return torch.relu(self.head(self._pooled(input_ids, lengths, None, None, final_only=True)[0]))

    def _pooled(
        self, input_ids: Tensor, lengths: Tensor, state: Tensor | None, dropout: Dropouts | None, final_only: bool
    ) -> tuple[Tensor, Tensor]:
        """The pools side by side, (B, T, P) or (B, P) with ``final_only``, and the state after; see :meth:`forward`."""
        config = self.config
        if state is None:
            state = torch.zeros(len(input_ids), config.state_size, device=input_ids.device)
        sizes = config.pool_sizes()
        of_trunk, *of_pools = state.split([config.trunk.state_size, *sizes.values()], dim=1)
        carried = dict(zip(sizes, of_pools, strict=True))
        h, trunk_state = self.trunk(input_ids, None if final_only else lengths, of_trunk, dropout)
        h = h.float()
        real = (
            (torch.arange(h.shape[1], device=h.device)[None, :] < lengths[:, None]).unsqueeze(2).to(h.dtype)
        )  # (B, T, 1)
        add_up = _final_sum if final_only else _running_sum
        pooled: list[Tensor] = []  # each (B, T, H), or (B, H) with final_only
        after = [trunk_state]
        for pool in config.pools:
            if pool == "last":
                pooled.append(h[torch.arange(len(h), device=h.device), lengths - 1] if final_only else h)
            elif pool == "mean":
                total = add_up(carried["mean_sum"], h * real)
                count = add_up(carried["mean_count"], real)
                pooled.append(total / count)
                after += [total[:, -1], count[:, -1]]
            else:
                weight = torch.exp(self.sharpness * h) * real
                total = add_up(carried["boltzmann_sum"], h * weight)
                weights = add_up(carried["boltzmann_weight"], weight)
                pooled.append(total / weights)
                after += [total[:, -1], weights[:, -1]]
        return torch.cat(pooled, dim=-1), (trunk_state if final_only else torch.cat(after, dim=1))

    def logits(self, features: Tensor) -> Tensor:
        """(..., head_size) the head's hidden layer -> (..., C), divided by the :class:`TextTemperature` if there is one."""
        logits: Tensor = self.out(features)
        if self.config.text_temperature:
            logits = logits / self.temperature(features)
        return logits


def _final_sum(start: Tensor, x: Tensor) -> Tensor:
    """(B, D), (B, T, D) -> (B, D)."""
    return start + x.sum(dim=1)


def _running_sum(start: Tensor, x: Tensor) -> Tensor:
    """(B, D), (B, T, D) -> (B, T, D). The start goes in first, so that chunks add up in the same order as the whole."""
    return torch.cat([start.unsqueeze(1).to(x.dtype), x], dim=1).cumsum(dim=1)[:, 1:]
