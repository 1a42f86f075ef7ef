"""The tabular multi-layer perceptron in torch: the twin, while training, of `registry.tabular_mlp`.

Used by `training.train_loop`. Parameter names are those of the stored format, so that a state dict is saved as it is.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from gnomon.registry.model_inputs import UNKNOWN_CODE
from gnomon.registry.tabular_mlp import TabularMLPDesign


class TabularNetwork(nn.Module):
    """Embeddings beside the dense inputs, then linear layers with rectifiers; one output a row.

    Args:
        design: Shapes.
        dropout: Share of hidden units dropped while training.
    """

    def __init__(self, design: TabularMLPDesign, dropout: float) -> None:
        super().__init__()
        width = design.preprocessing.dense_width
        self.embeddings = nn.ModuleList()
        for item in design.preprocessing.categorical:
            self.embeddings.append(nn.Embedding(item.codes, item.embedding))
            width += item.embedding
        self.layers = nn.ModuleList()
        for out in (*design.hidden, 1):
            self.layers.append(nn.Linear(width, out))
            width = out
        self.dropout = nn.Dropout(dropout)

    def forward(self, dense: Tensor, codes: Tensor) -> Tensor:
        """Compute the raw output of each row.

        Args:
            dense: rows × dense width, float32.
            codes: rows × categorical inputs, int64.

        Returns:
            A logit a row for binary tasks, the standardised value for regressions.
        """
        looked_up = [table(codes[:, place]) for place, table in enumerate(self.embeddings)]
        values = torch.cat([dense, *looked_up], dim=1) if looked_up else dense
        *hidden, last = self.layers
        for layer in hidden:
            values = self.dropout(torch.relu(layer(values)))
        output: Tensor = last(values)[:, 0]
        return output


def new_network(design: TabularMLPDesign, dropout: float, seed: int, share_of_ones: float | None) -> TabularNetwork:
    """Make a network with seeded weights.

    A binary network begins with the output bias at the log-odds of the training labels: it then answers the base rate
    before it has learned anything. That is how rare positives are handled. Weighting them up instead would ruin the
    probabilities (see tests/unit/training/test_class_imbalance.py).

    Args:
        design: Shapes.
        dropout: Share of hidden units dropped while training.
        seed: Of the weights.
        share_of_ones: For binary tasks, in (0, 1).

    Returns:
        The network, on the CPU.
    """
    torch.manual_seed(seed)
    network = TabularNetwork(design, dropout)
    last = network.layers[-1]
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        # Smaller than torch's unit normal: an untrained vector is noise to the layers above.
        for table in network.embeddings:
            assert isinstance(table, nn.Embedding)
            table.weight.mul_(0.1)
            table.weight[UNKNOWN_CODE].zero_()
        if share_of_ones is not None:
            last.bias.fill_(math.log(share_of_ones / (1.0 - share_of_ones)))
    return network
