"""Rules over crash reports and events, and the recipients of alerts.

- An alert has an identity, a begin and an end. Each recipient is notified of both; twice only if netconsd is killed.
- What cannot be notified waits, over restarts, and is notified together later. Memory and notifications are bounded.

docs/alerts has the use and the settings.
"""
