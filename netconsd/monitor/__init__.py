"""The counters, as shown in the log, to Prometheus and over HTTP."""
