"""The master: owns listeners, connections and the fleet of workers; never imports the app."""
