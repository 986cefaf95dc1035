"""From predictions and facts of a run to scores, records and tables."""
