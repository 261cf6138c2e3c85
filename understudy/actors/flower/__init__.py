"""The same actors on machines apart, over Flower; see docs/flower.md."""
