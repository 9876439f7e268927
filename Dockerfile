# memsvc, for processors (`--target cpu`, the default) and with CUDA's libraries (`--target gpu`).
# Packages are those of constraints.txt, which also pins what they bring; nothing in the image is newer than it.

ARG PYTHON=3.11.14-slim-bookworm

FROM python:${PYTHON} AS wheel
WORKDIR /src
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
COPY constraints.txt ./
RUN pip install -c constraints.txt grpcio-tools hatchling mypy-protobuf types-protobuf
COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY protos ./protos
COPY kernels ./kernels
COPY clients/python ./clients/python
COPY integrations ./integrations
COPY bench ./bench
COPY memsvc ./memsvc
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /wheels .

FROM python:${PYTHON} AS packages
WORKDIR /src
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PATH=/opt/memsvc/bin:$PATH
RUN python -m venv /opt/memsvc
COPY constraints.txt ./

FROM packages AS packages-cpu
# Where PyTorch keeps its builds for processors. Without it the build for CUDA comes, which runs too and is larger by far.
ARG TORCH_INDEX=""
RUN pip install -c constraints.txt ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch
COPY --from=wheel /wheels /wheels
RUN pip install -c constraints.txt --find-links /wheels "memsvc[auth,http,openai,otel,redis]"

FROM packages AS packages-gpu
COPY --from=wheel /wheels /wheels
RUN pip install -c constraints.txt --find-links /wheels "memsvc[auth,gpu,http,openai,otel,redis]"

FROM python:${PYTHON} AS runtime
RUN groupadd --system --gid 10001 memsvc \
    && useradd --system --uid 10001 --gid 10001 --home-dir /var/lib/memsvc --create-home --shell /usr/sbin/nologin memsvc
# Its root may be read-only: all that it writes is in MEMSVC_DATA, without a store elsewhere, and in /tmp.
ENV PATH=/opt/memsvc/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    MEMSVC_DATA=/var/lib/memsvc/data HF_HOME=/tmp/huggingface
WORKDIR /var/lib/memsvc
USER 10001:10001
EXPOSE 50051 9464
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=10s --start-period=90s --retries=3 CMD ["memsvc", "health"]
ENTRYPOINT ["memsvc"]
CMD ["serve"]

FROM runtime AS gpu
COPY --from=packages-gpu /opt/memsvc /opt/memsvc

# Last, so that it is what is built when no target is named.
FROM runtime AS cpu
COPY --from=packages-cpu /opt/memsvc /opt/memsvc
