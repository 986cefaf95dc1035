"""Architectures of gaze networks that torchvision and timm do not have."""
