# The operator and the command line.
#
#   docker build --tag mmrlhf/operator .
#
# BASE is any image with Python 3.11 to 3.13 as `python3` and its venv module.
# The secret `pip` is a pip.conf and the secret `ca` a bundle of certificates, for a package index
# of your own; neither is left in a layer. `--build-context wheels=FOLDER` adds a folder of wheels.
ARG BASE=docker.io/library/python:3.11-slim-bookworm

# Without a build context of that name there are no extra wheels.
FROM scratch AS wheels

FROM ${BASE} AS requirements
COPY pyproject.toml images/requirements.py /build/
RUN python3 /build/requirements.py /build/pyproject.toml operator cli > /requirements.txt

# Everything but our own code: this layer stays while only that changes.
FROM ${BASE} AS dependencies
ARG PIP_INDEX=""
COPY --from=requirements /requirements.txt /opt/mmrlhf/share/
COPY constraints.txt images/trim.py /opt/mmrlhf/share/
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    --mount=type=secret,id=ca,target=/run/secrets/ca.crt \
    --mount=type=bind,from=wheels,target=/wheels \
    python3 -m venv /tmp/pip \
    && python3 -m venv --without-pip /opt/mmrlhf \
    && /tmp/pip/bin/pip --python /opt/mmrlhf/bin/python install --no-cache-dir --no-compile \
       --find-links /wheels ${PIP_INDEX:+--extra-index-url "${PIP_INDEX}"} \
       --constraint /opt/mmrlhf/share/constraints.txt \
       --requirement /opt/mmrlhf/share/requirements.txt \
    && /opt/mmrlhf/bin/python /opt/mmrlhf/share/trim.py \
    && rm -rf /opt/mmrlhf/share/trim.py /root/.cache /tmp/*

FROM ${BASE} AS code
COPY constraints.txt /src/
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    --mount=type=secret,id=ca,target=/run/secrets/ca.crt \
    python3 -m venv /opt/build \
    && /opt/build/bin/pip install --no-cache-dir --constraint /src/constraints.txt hatchling
COPY README.md pyproject.toml /src/
COPY crds /src/crds
COPY jobs /src/jobs
COPY operator /src/operator
COPY cli /src/cli
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

FROM dependencies AS operator
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="mmrlhf operator" \
      org.opencontainers.image.description="Kubernetes operator and command line of mmrlhf" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# The root file system is read-only in a pod: whatever is written goes below /tmp.
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
