"""Pictures out of the bytes of images and videos, in processes that may die of them."""
