#!/bin/sh
# Installs requirements into /opt/mmrlhf, with nothing of pip left in the layer.
#
#   install.sh REQUIREMENTS         into an environment of their own, made here, and trimmed
#   install.sh REQUIREMENTS /out    beside those that are there already, files below /out
#
# PIP_INDEX names a further index; /wheels may hold wheels. It runs from /build, which it removes.
set -eu
requirements=$1
root=${2:-}
share=/opt/mmrlhf/share
python3 -m venv /tmp/pip
if [ -z "$root" ]; then
    python3 -m venv --without-pip /opt/mmrlhf
fi
/tmp/pip/bin/pip --python /opt/mmrlhf/bin/python install --no-cache-dir --no-compile \
    --find-links /wheels ${PIP_INDEX:+--extra-index-url "$PIP_INDEX"} \
    --constraint $share/constraints.txt --requirement "$requirements" ${root:+--root "$root"}
if [ -z "$root" ]; then
    /opt/mmrlhf/bin/python /build/trim.py
else
    find "$root" -depth -type d -name tests -exec rm -r {} +
    python3 -m compileall -q --invalidation-mode unchecked-hash "$root"
fi
rm -rf /build /root/.cache /tmp/*
