"""What every room uses: text for people, secrets, whole-file writes, processes, plug-ins."""
