"""Strategies: training labels in, which rows, how often and with which weight out."""
