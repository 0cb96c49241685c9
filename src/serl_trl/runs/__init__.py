"""What stands in the folder of a run, and which folders a run may write to."""
