"""xds-shadow: traffic shadowing for Envoy fleets on Kubernetes, without a mesh.

Read the packages in the order of the data: ``kube`` and ``manifests`` observe Kubernetes objects, ``core``
turns them into a plan, ``translate`` turns the plan into Envoy resources, ``xds`` serves these and records
the Envoys' responses, and ``server`` connects them. ``base`` has no domain, ``cli`` has the commands, and
``local`` has the embedded API and the demo.
"""

import os

# gRPC reads these when it is first imported, so they are set before anything of this package can import it:
# for the scripts, `python -m`, and programs that import it.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # this program logs errors of gRPC itself
# Every child process executes another program at once. gRPC's fork support can crash such a process.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")
