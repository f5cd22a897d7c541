"""The domain, pure: objects and the world; readers make intents, `resolve` makes a finished plan of them;
what is wrong is data."""
