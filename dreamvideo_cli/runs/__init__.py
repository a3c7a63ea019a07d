"""What runs wrote down: events, scores, timings, and the report made of them."""
