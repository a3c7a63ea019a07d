"""Laws of bytes to pixels and back."""
