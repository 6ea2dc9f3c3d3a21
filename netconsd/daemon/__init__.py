"""The process around the service: configuration, signals, service manager."""
