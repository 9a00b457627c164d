"""Invertible networks that classify: residual blocks that contract, and coupling flows."""
