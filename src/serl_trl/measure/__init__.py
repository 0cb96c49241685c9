"""A model measured against gold answers, and two measurements compared."""
