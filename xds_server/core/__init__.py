"""The domain, without I/O. Readers turn objects of the world into intents, and `resolve` turns intents into a
plan. Mistakes of users are conditions, which are data."""
