"""One refill of a generation batch: propose, filter, roll out, vote, judge."""
