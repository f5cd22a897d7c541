"""What several test packages use: waiting, backends that record or misbehave, a fleet under test."""
