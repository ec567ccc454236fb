#!/bin/sh
# Makes an environment of its own that stands before that of jobs: what it lacks is theirs.
#
#   beside.sh FOLDER    installs all that /build/hashes.txt lists into FOLDER
#
# As install.sh, nothing is installed but files with these digests, and /wheels may hold some of them.
# It runs from /build, which it removes.
set -eu
folder=$1
python3 -m venv /tmp/pip
/tmp/pip/bin/pip install --no-cache-dir --require-hashes --requirement /build/pip.txt
python3 -m venv --without-pip "$folder"
packages() { "$1/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))'; }
echo "import site; site.addsitedir('$(packages /opt/mmrlhf)')" > "$(packages "$folder")/beside.pth"
/tmp/pip/bin/pip --python "$folder/bin/python" install --no-cache-dir --no-compile --no-deps \
    --require-hashes --build-constraint /opt/mmrlhf/share/constraints.txt --find-links /wheels \
    --requirement /build/hashes.txt
"$folder/bin/python" -m compileall -q --invalidation-mode unchecked-hash "$(packages "$folder")" || true
rm -rf /build /root/.cache /tmp/*
