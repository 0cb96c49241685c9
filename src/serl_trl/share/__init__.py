"""What leaves for the Hub: cards, releases, data sets."""
