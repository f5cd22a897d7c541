"""The fleet: what each connected Envoy asked for, was sent, acknowledged and refused."""
