"""What published systems need and nothing else does: their networks, and switches that only a replica may want."""
