"""xds-shadow: traffic shadowing for Envoy fleets on Kubernetes, without a mesh.

Read the packages in pipeline order: ``sources`` observe Kubernetes objects, ``model`` holds them,
``shadows`` works out who shadows whom, ``translate`` turns that plan into Envoy resources, ``snapshot``
keeps them as bytes, ``ads`` serves them, ``fleet`` remembers what every Envoy made of them.
"""
