"""Tests of the whole project, from pure functions to real Envoys."""

import os

# A process that serves gRPC and starts an Envoy forks. gRPC's own handlers of that, meant for children that
# go on with gRPC, would now and then end the child before it becomes Envoy. Read when gRPC is first used.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "false"
