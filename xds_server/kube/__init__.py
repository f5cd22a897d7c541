"""How an API server is reached: credentials, sessions, one request. What is asked is the callers' part:
`sources` reads, `publish` writes.
"""
