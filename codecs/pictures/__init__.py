"""Pictures, and tensors laid out as pictures."""
