"""What a file itself states about its origin: digital source types and content credentials."""
