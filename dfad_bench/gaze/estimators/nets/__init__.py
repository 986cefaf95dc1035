"""Architectures of the gaze networks that torchvision and timm do not carry."""
