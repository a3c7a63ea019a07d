"""What a base can and cannot do, found before anything heavy is imported."""
