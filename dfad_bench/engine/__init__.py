"""Training and prediction: one loop for every model, resumable to the bit."""
