"""What scripts/release-deploy-check does, inside its namespaces."""

import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import time
import urllib.parse

import emulator
from emulator import Emulator, Stack, contact
from expand_template import expand

LIMIT = 60
dist, folder = map(pathlib.Path, sys.argv[1:])
release = folder / "release"
arch = {"aarch64": "arm64"}.get(platform.machine(), platform.machine())


class Released(Stack):
    """The stack that `sam deploy` made of the released template."""

    def __init__(self, template):
        self.folder, self.name, self.region = folder, "titanx-receiver", "us-east-1"
        # ministack makes no routes, so they are made of what SAM makes of the template.
        self.template = expand(path=template)
        self.look()


def bare(command, **options):
    """Runs a command with nothing in its environment but the account, and of programs only those in `bin`."""
    environment = {"PATH": str(folder / "bin"), "HOME": str(folder / "home"), "SAM_CLI_TELEMETRY": "0", "LC_ALL": "C.UTF-8"}
    environment |= {name: value for name, value in os.environ.items() if name.startswith("AWS_")} | options.pop("env", {})
    return subprocess.run(["sh", "-c", command], env=environment, cwd=release, text=True, capture_output=True, **options)


def readme_command(*beginning):
    found = subprocess.run(["scripts/readme-command", *beginning], text=True, capture_output=True, check=True)
    return found.stdout.strip().replace("arm64", arch)


def succeed(command):
    print(f"$ {command}")
    done = bare(command)
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def check_operator(stack):
    """The released command, on this machine's glibc."""
    [archive] = release.glob(f"titanx-operator-*-linux-{arch}.tar.gz")
    succeed(f"tar -xzf {archive.name}")
    url = urllib.parse.urlsplit(stack.outputs["WebhookUrl"])
    host = url.netloc.replace(f"{stack.region}.amazonaws.com", "localhost")
    pathlib.Path("/etc/hosts").write_text(f"127.0.0.1 localhost {host}\n")
    operator = f"{archive.name.removesuffix('.tar.gz')}/operator"
    options = f"--stack {stack.name} --url https://{host}:{emulator.PORT}{url.path}"
    sent = succeed(f"{operator} send --count 3 {options}")
    assert sent.count("200  ") == 3, sent
    assert len(stack.drain(stack.contacts)) == 3
    found = json.loads(bare(f"{operator} doctor --json {options}").stdout)
    problems = {it["subject"] for it in found if it["verdict"] == "problem"}
    # The emulator applies neither TTL nor point-in-time recovery. Nobody has subscribed to the alarms.
    assert problems == {"deliveries table", "jobs table", "alarm topic"}, found
    print("the released operator: doctor reads the stack, send delivers to it")


for program in ("cargo", "rustc", "cc", "gcc", "zig", "docker"):
    assert bare(f"command -v {program}").returncode != 0, f"{program} can be found"

with Emulator(folder):
    for file in dist.iterdir():
        shutil.copy(file, release)
    begun = time.monotonic()
    succeed(readme_command("sha256sum"))
    succeed(readme_command("sam", "deploy", "--template-file"))
    [template] = release.glob(f"titanx-receiver-*-{arch}.yaml")
    stack = Released(template)
    stack.store(emulator.SECRET)
    assert stack.request(contact()[1], key="another") == (401, '{"error": "Invalid signature"}')
    delivery, body = contact()
    assert stack.request(body) == (200, '{"received": true}')
    took = time.monotonic() - begun
    [message] = stack.receive(stack.contacts)
    assert message["Body"] == body and message["MessageAttributes"]["deliveryId"]["StringValue"] == delivery
    print(f"from the downloaded files to the first delivery, without a toolchain: {took:.0f} s ({template.name})")
    assert took <= LIMIT
    check_operator(stack)
