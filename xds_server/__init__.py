"""xds-shadow: traffic shadowing for Envoy fleets on Kubernetes, without a mesh.

Read the packages in pipeline order: ``sources`` observe Kubernetes objects, ``model`` holds them,
``shadows`` works out who shadows whom, ``translate`` turns that plan into Envoy resources, ``snapshot``
keeps them as bytes, ``ads`` serves them, ``fleet`` remembers what every Envoy made of them.
"""

import os

# gRPC reads these when it is first imported, so they are set before anything of this package can import it:
# for the scripts, `python -m`, and whoever embeds it.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # our own messages say what matters
# What is started here runs another program at once; gRPC's care for forked children can cost their lives.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")
