"""What the product does: a file for each noun."""
