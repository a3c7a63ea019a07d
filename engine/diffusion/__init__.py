"""The formulas: noise and targets, guidance, sampling."""
