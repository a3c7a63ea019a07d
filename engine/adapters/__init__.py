"""What is learned: a word, and bottlenecks at sites of a frozen denoiser."""
