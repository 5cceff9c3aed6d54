"""From a model, images and targets to signed maps."""
