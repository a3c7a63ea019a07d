"""What is seen of a run while it trains: previews, scores, trackers."""
