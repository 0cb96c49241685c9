"""Memory and time estimated before anything is rented."""
