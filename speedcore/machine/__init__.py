"""What this machine is and can do: its processor, its devices, and in which arithmetic it trains quickest."""
