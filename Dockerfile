# The image of the control plane: `docker build -t xds-shadow .`. `--target demo` adds what docker-compose.yml needs.
# Nothing is resolved here: the lock files have all packages, with hashes. No shell is needed at run time, so BASE_IMAGE
# can be any image with Python 3.11 and the same C library, such as a distroless one. PYTHON is the path of its Python.
ARG BUILD_IMAGE=python:3.11-slim-bookworm
ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BUILD_IMAGE} AS build
ARG PYTHON=/usr/local/bin/python3
WORKDIR /src
COPY requirements-runtime.lock requirements-image.lock ./
RUN python3 -m pip install --no-cache-dir --no-compile --require-hashes --no-deps \
      --target /opt/libraries --requirement requirements-runtime.lock \
 && python3 -m pip install --no-cache-dir --no-compile --require-hashes --no-deps \
      --target /opt/build --requirement requirements-image.lock \
 # The typed Kubernetes client is not used, because we decode bodies ourselves. It is larger than everything else.
 && rm -rf /opt/libraries/bin /opt/libraries/kubernetes/client/api/*_api.py \
      /opt/libraries/kubernetes/aio/client/api/*_api.py \
      /opt/libraries/kubernetes/client/models/[a-z]*.py /opt/libraries/kubernetes/aio/client/models/[a-z]*.py \
 && python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/libraries
COPY pyproject.toml README.md LICENSE ./
COPY manifests manifests
COPY xds_server xds_server
RUN PYTHONPATH=/opt/build python3 -m hatchling build --target wheel --directory /tmp/wheel \
 && python3 -m pip install --no-cache-dir --no-compile --no-deps --no-index --target /opt/program /tmp/wheel/*.whl \
 && sed -i "1s|^#!.*|#!${PYTHON}|" /opt/program/bin/* \
 && python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/program \
 && mkdir -p /opt/certificates/control-plane /opt/certificates/envoy-delta /opt/certificates/envoy-sotw

FROM ${BASE_IMAGE} AS runtime
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="xds-shadow" \
      org.opencontainers.image.description="Traffic shadowing for Envoy fleets on Kubernetes, without a mesh" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
COPY --from=build /opt/libraries /opt/xds-shadow
COPY --from=build /opt/program /opt/xds-shadow
ENV PATH=/opt/xds-shadow/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONPATH=/opt/xds-shadow \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 65532:65532
EXPOSE 18000 18081
# For engines that use it. Kubernetes has its own probes. With another --http-address, set another check.
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s CMD ["python3", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:18081/readyz', timeout=2)"]
ENTRYPOINT ["xds-shadow"]

# For the demo: it issues certificates and stores them here.
FROM runtime AS demo
COPY --from=build /opt/build /opt/demo
COPY --from=build --chown=65532:65532 /opt/certificates /certificates
ENV PYTHONPATH=/opt/xds-shadow:/opt/demo
HEALTHCHECK NONE

# `docker build` builds the last stage by default.
FROM runtime
