# The serving image: the service, its dependencies and the bundles; no PyTorch, no pip, no compiler.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build

# Dependencies first: they change less often than the code, so this layer is usually taken from the cache.
COPY pyproject.toml constraints.txt ./
RUN python -m venv --without-pip /opt/venv \
 && python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" > requirements.txt \
 && python -m pip --python /opt/venv/bin/python install -r requirements.txt -c constraints.txt

# What no request reaches: the hub client that tokenizers only needs to download from the hub, with what that brings
# along; ONNX Runtime's offline tools and its C library (the Python module has its own copy inside); and the tests,
# sources and headers inside wheels. The prediction below proves it.
RUN python -m pip --python /opt/venv/bin/python uninstall --yes \
      filelock fsspec hf-xet httpcore2 httpx2 huggingface-hub pyyaml tqdm truststore \
 && cd /opt/venv/lib/python3*/site-packages \
 && rm -r onnxruntime/quantization onnxruntime/tools onnxruntime/transformers onnxruntime/capi/libonnxruntime.so* \
 && find . -type d \( -name tests -o -name include \) -prune -exec rm -r {} + \
 && find . -type f \( -name '*.pyx' -o -name '*.pxd' -o -name '*.c' -o -name '*.h' -o -name '*.a' \) -delete

COPY README.md LICENSE rnnserve.py ./
COPY service service
COPY models models
COPY export export
RUN python -m pip --python /opt/venv/bin/python install --no-deps .

# Every bundle is opened, verified and run once in what will be the image: a damaged one fails here, not at start.
COPY bundles /bundles
RUN /opt/venv/bin/rnnserve predict --bundles /bundles "This movie is good"


FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="rnnserve" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    RNNSERVE_BUNDLES=/bundles
COPY --from=build /opt/venv /opt/venv
COPY --from=build /bundles /bundles

# A number, not a name, so that an orchestrator can see that it is not root.
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
  CMD ["python", "-ISc", "from http.client import HTTPConnection as C; c = C('127.0.0.1', 8000, timeout=2); c.request('GET', '/readyz'); raise SystemExit(c.getresponse().status != 200)"]
CMD ["rnnserve", "serve", "--host", "0.0.0.0", "--port", "8000"]
