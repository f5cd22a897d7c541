"""A Kubernetes API server small enough to read: kubectl works against it, and nothing runs behind it.

It is a default for laptops and the demo, and a partner for the tests of our own Kubernetes client. So it
shares nothing with the packages that it is to test: it knows `base` and libraries, and no more.
"""
