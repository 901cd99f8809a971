"""Settings, schedules, time windows and TLS."""
