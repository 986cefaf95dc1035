"""The contract every model keeps, check by check; `engine.model_contract` runs them."""
