#!/bin/sh
# Installs requirements into /opt/mmrlhf, with nothing of pip left in the layer.
#
#   install.sh REQUIREMENTS         into an environment of their own, made here, and trimmed
#   install.sh REQUIREMENTS /out    beside those that are there already, files below /out
#
# Nothing is installed but files whose digests constraints.txt lists, all from one index; /wheels may
# hold some of them. It runs from /build, which it removes.
set -eu
requirements=$1
root=${2:-}
constraints=/opt/mmrlhf/share/constraints.txt
python3 -m venv /tmp/pip
/tmp/pip/bin/pip install --no-cache-dir --require-hashes --requirement /build/pip.txt
if [ -z "$root" ]; then
    python3 -m venv --without-pip /opt/mmrlhf
fi
install() {
    /tmp/pip/bin/pip --python /opt/mmrlhf/bin/python install --no-cache-dir --no-compile \
        --require-hashes --constraint $constraints --build-constraint $constraints \
        --find-links /wheels ${root:+--root "$root"} "$@"
}
# A wheel of torch in /wheels goes first: by itself, pip prefers the index's, whose digest it is told
# beforehand.
if grep -q '^torch>' "$requirements" && ls /wheels/torch-*.whl > /dev/null 2>&1; then
    install --no-deps --no-index "$(sed -n 's/^\(torch==[^ ]*\).*/\1/p' $constraints)"
fi
install --requirement "$requirements"
if [ -z "$root" ]; then
    /opt/mmrlhf/bin/python /build/trim.py
else
    find "$root" -depth -type d -name tests -exec rm -r {} +
    python3 -m compileall -q --invalidation-mode unchecked-hash "$root"
fi
rm -rf /build /root/.cache /tmp/*
