"""The same agents on machines apart, over Flower; see docs/flower.md."""
