"""The named scenarios of Envoy's ads_integration_test.cc, told with this project's server and real Envoys.

There a scripted server plays against an Envoy under test. Here both are real, so a story is told by what is
committed, and judged by Envoy's admin interface and by the server's events.
"""
