"""The count of networks that run wholly on an NPU, on rows by hand."""

from __future__ import annotations

from splitpoint.benchmarks.npu_layers import summary


def row(network: str, precision: str, layers: int, on_npu: int, unit: str = "NPU") -> dict[str, str]:
    return {
        "network": network,
        "precision": precision,
        "unit": unit,
        "layers": str(layers),
        "layers_npu": str(on_npu),
    }


def test_layers_by_unit_are_counted() -> None:
    rows = [
        row("a", "float", 10, 10),
        row("b", "w8a8", 10, 6),
        row("b", "w8a16", 10, 8),
        row("c", "float", 10, 9),
        row("d", "float", 10, 0, unit="CPU"),
    ]
    assert summary(rows) == (
        "1 of 4 compiled networks run all layers on the NPU; of the other 3 (b, c), 2 are quantized, and the NPU lacks"
        " 10% to 40% of their layers (median 20%)"
    )
