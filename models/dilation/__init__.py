"""Strides of a functional network turned into dilation, exactly."""
