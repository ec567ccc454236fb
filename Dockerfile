# All images, one target each:
#
#   docker build --target operator --tag mmrlhf/operator .    the operator and the command line
#   docker build --target train --tag mmrlhf/train .          pods of MMDPOJob and RewardTrainJob
#   docker build --target sample --tag mmrlhf/sample .        pods of ClusterSampleJob
#   docker build --target lmms-eval --tag mmrlhf/lmms-eval .  pods of step lmms-eval, for who wants it
#
# BASE is any image with Python 3.11 to 3.13 as `python3` and its venv module.
#
# PyPI's torch brings CUDA with it, so the default runs on GPUs on any base. For CPUs only, a third
# of the size, fetch its wheel for CPUs and build with it:
#
#   pip download --no-deps --dest wheels --index-url https://download.pytorch.org/whl/cpu \
#     --require-hashes --constraint hashes/images.txt torch==2.13.0
#   docker build --target train --build-context wheels=wheels .
#
# All packages come from one index and have a digest in hashes/. The secret `pip` is a pip.conf and
# the secret `ca` a bundle of certificates, for an index of your own; neither is left in a layer.
# `--build-context wheels=FOLDER` adds a folder of wheels, which need a digest there too.
ARG BASE=docker.io/library/python:3.11-slim-bookworm@sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b

# Without a build context of that name there are no extra wheels.
FROM scratch AS wheels

# One file for each set of packages, so that its layer stays while other requirements change.
FROM ${BASE} AS requirements
COPY pyproject.toml images/requirements.py /build/
RUN python3 /build/requirements.py /build/pyproject.toml operator cli > /operator.txt \
    && python3 /build/requirements.py /build/pyproject.toml jobs > /jobs.txt \
    && python3 /build/requirements.py /build/pyproject.toml sample > /sample.txt

# Everything but our own code: these layers stay while only that changes.
FROM ${BASE} AS operator-installed
COPY --from=requirements /operator.txt /opt/mmrlhf/share/requirements.txt
COPY hashes/images.txt /opt/mmrlhf/share/constraints.txt
COPY hashes/pip.txt images/install.sh images/trim.py /build/
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    --mount=type=secret,id=ca,target=/run/secrets/ca.crt \
    --mount=type=bind,from=wheels,target=/wheels \
    sh /build/install.sh /opt/mmrlhf/share/requirements.txt

FROM ${BASE} AS jobs-installed
COPY --from=requirements /jobs.txt /opt/mmrlhf/share/requirements.txt
COPY hashes/images.txt /opt/mmrlhf/share/constraints.txt
COPY hashes/pip.txt images/install.sh images/trim.py /build/
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    --mount=type=secret,id=ca,target=/run/secrets/ca.crt \
    --mount=type=bind,from=wheels,target=/wheels \
    sh /build/install.sh /opt/mmrlhf/share/requirements.txt

# Apart, so that a node which has the train image need not pull its layers again.
FROM jobs-installed AS sample-installed
COPY --from=requirements /sample.txt /build/
COPY hashes/pip.txt images/install.sh /build/
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    --mount=type=secret,id=ca,target=/run/secrets/ca.crt \
    --mount=type=bind,from=wheels,target=/wheels \
    sh /build/install.sh /build/sample.txt /out

# With what the map would compile anew in each pod; plane.py looks for it there. On the stage before, as
# a copy of its files from another one is read whole in each build, to see whether it is the same.
FROM sample-installed AS sample-compiled
COPY jobs/mmrlhf_jobs/sampling/report/plane.py /build/
RUN cp -a /out/. / \
    && /opt/mmrlhf/bin/python -B /build/plane.py /out/opt/mmrlhf/share/numba

# lmms-eval wants other versions of some packages: it has an environment of its own, before that of jobs.
FROM jobs-installed AS lmms-eval-installed
COPY hashes/lmms-eval.txt /build/hashes.txt
COPY hashes/pip.txt images/beside.sh /build/
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    --mount=type=secret,id=ca,target=/run/secrets/ca.crt \
    --mount=type=bind,from=wheels,target=/wheels \
    sh /build/beside.sh /opt/lmms-eval

FROM ${BASE} AS code
COPY hashes/pip.txt hashes/images.txt /hashes/
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    --mount=type=secret,id=ca,target=/run/secrets/ca.crt \
    python3 -m venv /opt/build \
    && /opt/build/bin/pip install --no-cache-dir --require-hashes --requirement /hashes/pip.txt \
    && /opt/build/bin/pip install --no-cache-dir --require-hashes --constraint /hashes/images.txt \
       hatchling
# By this images/build.py finds what earlier versions of our code left, and removes it.
LABEL mmrlhf.stage=code
COPY LICENSE README.md pyproject.toml /src/
COPY crds /src/crds
COPY jobs /src/jobs
COPY operator /src/operator
COPY cli /src/cli
COPY sdk /src/sdk
# Our wheel, unpacked where it belongs, and a user with a name (torch asks for it).
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /dist /src \
    && python3 -m venv --without-pip /opt/mmrlhf \
    && /opt/build/bin/pip --python /opt/mmrlhf/bin/python install --no-deps --no-index \
       --no-compile --root /out /dist/*.whl \
    && python3 -m compileall -q --invalidation-mode unchecked-hash /out \
    && mkdir /out/etc \
    && cp /etc/passwd /etc/group /out/etc/ \
    && echo 'mmrlhf:x:65532:65532::/tmp:/usr/sbin/nologin' >> /out/etc/passwd \
    && echo 'mmrlhf:x:65532:' >> /out/etc/group

# What a pod of any kind sees. Its root file system is read-only: whatever is written goes below /tmp.
FROM jobs-installed AS jobs
ENV PATH=/opt/mmrlhf/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    HOME=/tmp \
    TMPDIR=/tmp \
    XDG_CACHE_HOME=/tmp/.cache \
    XDG_CONFIG_HOME=/tmp/.config \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HF_HOME=/tmp/.cache/huggingface \
    HF_HUB_DISABLE_TELEMETRY=1 \
    MPLCONFIGDIR=/tmp/.config/matplotlib \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    TORCH_EXTENSIONS_DIR=/tmp/.cache/torch_extensions \
    TORCHINDUCTOR_CACHE_DIR=/tmp/.cache/torchinductor \
    TRITON_CACHE_DIR=/tmp/.cache/triton
WORKDIR /
# No entry point: a pod says what it runs.
CMD ["python", "-m", "mmrlhf_jobs", "--help"]

FROM jobs AS train
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="mmrlhf train" \
      org.opencontainers.image.description="Training jobs of mmrlhf: preference alignment and reward models" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=code /out/ /
USER 65532:65532

FROM jobs AS sample
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="mmrlhf sample" \
      org.opencontainers.image.description="Sampling jobs of mmrlhf: choosing queries by clustering" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
ENV NUMBA_CACHE_DIR=/tmp/.cache/numba
COPY --from=sample-compiled /out/ /
COPY --from=code /out/ /
USER 65532:65532

FROM jobs AS lmms-eval
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="mmrlhf lmms-eval" \
      org.opencontainers.image.description="Benchmarks of understanding for mmrlhf, by lmms-eval" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=lmms-eval-installed /opt/lmms-eval /opt/lmms-eval
COPY --from=code /out/ /
USER 65532:65532

# The last is what a build without a target makes.
FROM operator-installed AS operator
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="mmrlhf operator" \
      org.opencontainers.image.description="Kubernetes operator and command line of mmrlhf" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
ENV PATH=/opt/mmrlhf/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    HOME=/tmp \
    TMPDIR=/tmp \
    XDG_CACHE_HOME=/tmp/.cache \
    XDG_CONFIG_HOME=/tmp/.config \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
COPY --from=code /out/ /
WORKDIR /
USER 65532:65532
ENTRYPOINT ["python", "-m", "mmrlhf_operator"]
