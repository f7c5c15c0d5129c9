#!/usr/bin/env bash
# With AWS_LAMBDA_MAX_CONCURRENCY, AWS's runtime interface emulator refuses an invocation that comes before a loop of the runtime has asked for it.
#
# Expected, written down before the first run: an invocation waits for the function to be ready, as the first one waits for the start; and more
# invocations than the function takes at a time are throttled as Lambda does it, 429 with TooManyRequestsException.
# Observed: of five invocations of a function with a concurrency of 4, of whose loops three ask at once and one two seconds later, three are answered
# and two are refused at once: status 400 and {"errorType":"Runtime.Unavailable"}, without a message. The fourth place waits for its loop in
# vain: nothing is queued. Two seconds later four are answered and one is refused.
# A client that takes a 4xx for its own mistake does not try again; a test that invokes as soon as the first answer has come fails at times.
# Version: the emulator in aws-sam-cli 1.170.0, Python 3.11. Its README does not name the variable.
set -euo pipefail

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv python
python/bin/pip install -q --disable-pip-version-check aws-sam-cli==1.170.0
machine=$(uname -m)
emulator=$(echo "$folder"/python/lib/python3*/site-packages/samcli/local/rapid/aws-lambda-rie-"${machine/aarch64/arm64}")
chmod +x "$emulator"
cat >bootstrap <<'PYTHON'
#!/usr/bin/env python3
import os
import threading
import time
import urllib.request

invocation = f"http://{os.environ['AWS_LAMBDA_RUNTIME_API']}/2018-06-01/runtime/invocation/"


def loop(seconds):
    time.sleep(seconds)
    while True:
        with urllib.request.urlopen(invocation + "next", timeout=600) as event:
            request = event.headers["Lambda-Runtime-Aws-Request-Id"]
        time.sleep(1)
        urllib.request.urlopen(f"{invocation}{request}/response", b'"answered"').close()


for seconds in (0, 0, 0, 2):
    threading.Thread(target=loop, args=(seconds,)).start()
PYTHON
chmod +x bootstrap
cat >invoke.py <<'PYTHON'
import collections
import concurrent.futures
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request


def free_address():
    with socket.socket() as it:
        it.bind(("127.0.0.1", 0))
        return "%s:%s" % it.getsockname()


def invoke(_):
    try:
        url = f"http://{address}/2015-03-31/functions/function/invocations"
        with urllib.request.urlopen(url, b"{}", timeout=30) as answer:
            return f"{answer.status} {answer.read().decode()}"
    except urllib.error.HTTPError as error:
        return f"{error.code} {error.read().decode()}"


address, api = free_address(), free_address()
variables = {"AWS_LAMBDA_MAX_CONCURRENCY": "4", "AWS_LAMBDA_FUNCTION_TIMEOUT": "20", "PATH": "/usr/bin:/bin:/usr/local/bin", "HOME": "/tmp"}
command = [sys.argv[1], "--runtime-interface-emulator-address", address, "--runtime-api-address", api]
emulator = subprocess.Popen(command, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
try:
    while emulator.poll() is None:
        try:
            socket.create_connection(address.split(":")).close()
            break
        except OSError:
            time.sleep(0.01)
    with concurrent.futures.ThreadPoolExecutor(5) as pool:
        for when in ("at the start", "later"):
            for answer, count in sorted(collections.Counter(pool.map(invoke, range(5))).items()):
                print(f"{when}: {count} × {answer}")
            time.sleep(3)
finally:
    emulator.kill()
PYTHON
# The emulator starts /var/task/bootstrap. In a mount namespace, which needs root, /var of this machine does not change.
cat >inside <<'SH'
mount -t tmpfs tmpfs /var && install -D bootstrap /var/task/bootstrap && exec python/bin/python invoke.py "$1"
SH
seen=$(unshare --mount --pid --mount-proc --fork --kill-child bash inside "$emulator")
echo "$seen"
[ "$seen" = 'at the start: 3 × 200 "answered"
at the start: 2 × 400 {"errorType":"Runtime.Unavailable"}
later: 4 × 200 "answered"
later: 1 × 400 {"errorType":"Runtime.Unavailable"}' ] || {
  echo "the result differs from the one observed before" >&2
  exit 1
}
