"""flagloop: feature flags, rollouts and experiments that are decided in your own process."""
