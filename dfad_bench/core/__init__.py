"""What every room shares: the model contract, labels, readers of shipped data, files, errors. Imports no other room."""
