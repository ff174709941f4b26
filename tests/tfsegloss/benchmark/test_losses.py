"""What the benchmark measures."""

from tfsegloss.benchmark import losses


def test_the_losses_are_all_of_the_library():
    names = list(losses.losses())
    assert names[0] == "Keras"
    assert {"RMILoss", "LADLoss", "LMPLoss", "SSLLoss", "SSIMLoss/contrast_structure"} < set(names)
    assert {f"SoftmaxCrossEntropy/{p}" for p in ("Minkowski", "TopK", "MaxPooling")} < set(names)
    assert not {"PixelLoss", "WeightedLosses", "SegmentationLoss"} & set(names)
