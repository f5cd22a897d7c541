"""What shadowing costs the users of a Service: by a canary that misbehaves, and by request."""
