"""What a table most likely is: one guess a module, each with the evidence that it was made from."""
