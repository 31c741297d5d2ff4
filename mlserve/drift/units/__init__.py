"""What runs a check every night, as text to install: a line for cron, units for systemd, a manifest for Kubernetes."""
