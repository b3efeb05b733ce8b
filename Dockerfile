# varsr in a container, for the CPU by default:
#
#   docker build -t varsr .
#   docker run --rm -v "$PWD:/work" -v varsr-cache:/cache varsr upscale photo.jpg
#
# For NVIDIA GPUs, then with `docker run --gpus all`:
#
#   docker build -t varsr:cuda --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130 .
#
# BASE is any Debian with Python 3.10 or newer at the same place in both stages.
ARG BASE=docker.io/library/python:3.12-slim

FROM ${BASE} AS build
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
WORKDIR /source
COPY pyproject.toml README.md LICENSE weights.toml constraints.txt ./
COPY src src
RUN python3 -m venv /opt/varsr \
    && /opt/varsr/bin/pip install --no-cache-dir --extra-index-url "${TORCH_INDEX}" -c constraints.txt ".[heif,jxl,raw,video]" \
    && /opt/varsr/bin/pip uninstall --yes pip

FROM ${BASE}
COPY --from=build /opt/varsr /opt/varsr
# Any user may run it, also one without a name or a home; models and memories of earlier runs are kept in /cache.
ENV PATH=/opt/varsr/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    VARSR_CACHE=/cache \
    HF_HOME=/cache/hub
RUN mkdir -m 1777 /cache
VOLUME /cache
WORKDIR /work
USER 1000:1000
ENTRYPOINT ["varsr"]
CMD ["--help"]
