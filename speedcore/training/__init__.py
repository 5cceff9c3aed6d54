"""One run from its seed to its tested weights: the loop, the state that it steps, schedule, optimisers, health."""
