"""DeepLabV2, V3 and V3+, and the parts they share."""
