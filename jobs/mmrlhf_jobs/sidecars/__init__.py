"""Side-cars: cached reward scores and reference log-probabilities, one value a response."""
