"""A real Kubernetes control plane on this machine: ``make test-cluster``.

etcd, kube-apiserver, kube-controller-manager and kube-scheduler are the released components, built from
their Go modules (`control_plane/`). A stand-in for the kubelet runs an HTTP server for each Pod, and
``xds-shadow serve`` for each Pod of the installation. Everything runs in a network namespace of its own and
ends with the command.
"""
