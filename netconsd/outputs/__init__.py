"""Output modules: found, checked, configured, started, called and stopped."""
