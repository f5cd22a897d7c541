"""Measurements of the whole program on this machine. ``make bench`` runs them all."""
