"""Mathematics: LaTeX read into values, forms and relations that can be compared."""
