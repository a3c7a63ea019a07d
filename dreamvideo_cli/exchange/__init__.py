"""Adapters that come from other tools, and adapters that go to them."""
