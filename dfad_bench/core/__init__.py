"""The shared language of the toolkit: contract, labels, readers of shipped data, errors. Imports nothing of ours."""
