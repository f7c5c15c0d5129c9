"""What scripts/release-deploy-check does, inside its namespaces."""

import json
import os
import pathlib
import platform
import re
import shutil
import subprocess
import sys
import time

import emulator
from emulator import Emulator, Stack, contact
from expand_template import expand
from titanx import API_KEY, Api

dist, folder = map(pathlib.Path, sys.argv[1:])
root, release = folder / "root", folder / "release"
arch = {"aarch64": "arm64"}.get(platform.machine(), platform.machine())


class Released(Stack):
    """The stack that `sam deploy` made of the released template."""

    def __init__(self, template, name="titanx-receiver"):
        self.folder, self.name, self.region = folder, name, "us-east-1"
        # ministack makes no routes, so they are made of what SAM makes of the template.
        self.template = expand(path=template)
        self.look()


def bare(command):
    """Runs a command in the root without a toolchain, with nothing in its environment but the account."""
    environment = {"PATH": "/bin", "HOME": "/home", "SAM_CLI_TELEMETRY": "0", "LC_ALL": "C.UTF-8"}
    environment |= {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    command = ["/usr/sbin/chroot", root, "/bin/sh", "-c", f"cd {release} && {command}"]
    return subprocess.run(command, env=environment, text=True, capture_output=True)


def readme_command(*beginning):
    """The README's command, as it stands there and with this machine's architecture."""
    found = subprocess.run(["scripts/readme-command", *beginning], text=True, capture_output=True, check=True).stdout.strip()
    return found, re.sub("arm64|x86_64", arch, found)


def succeed(command):
    print(f"$ {command}")
    done = bare(command)
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def check_bareness():
    """Nothing that compiles is in the root, on its PATH or elsewhere."""
    compilers = re.compile(r"(cargo|rustc|rustup|cc|gcc|g\+\+|clang|cc1|collect2|lld|zig)(-[\w.]+)*|ld(\.\w+)?")
    found = []
    for path, folders, files in os.walk(root):
        folders[:] = [it for it in folders if os.path.join(path, it) != str(root / "proc")]
        found += [os.path.join(path, it) for it in files if compilers.fullmatch(it) and os.access(os.path.join(path, it), os.X_OK)]
    assert not found, found


def check_operator(stack):
    """The released command, in a root that has a C library and the stack's names, and no file besides."""
    written, unpack = readme_command("tar")
    succeed(unpack)
    _, subscribe = readme_command(written.split()[-1].removesuffix(".tar.gz") + "/operator")
    assert "Usage: operator subscribe" in succeed(subscribe)
    alone = folder / "operator"
    [unpacked] = release.glob(f"titanx-operator-*-linux-{arch}/operator")
    libraries = re.findall(r"(/\S+) \(0x", subprocess.run(["ldd", unpacked], capture_output=True, text=True, check=True).stdout)
    assert len(libraries) < 10, libraries
    for source in [*libraries, os.environ["AWS_CA_BUNDLE"]]:
        target = alone / source.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
    shutil.copy(unpacked, alone / "operator")
    host, path = stack.gateway()
    (alone / "etc").mkdir()
    (alone / "etc/hosts").write_text(f"127.0.0.1 localhost {host}\n")
    environment = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    # A debug build of the SDK insists on certificates of the system.
    environment["SSL_CERT_FILE"] = environment["AWS_CA_BUNDLE"]

    def operator(*arguments):
        command = ["/usr/sbin/chroot", alone, "/operator", *arguments, "--stack", stack.name]
        command += ["--url", f"https://{host}:{emulator.PORT}{path}"]
        return subprocess.run(command, env=environment, text=True, capture_output=True)

    sent = operator("send", "--count", "3")
    assert sent.stdout.count("200  ") == 3, (sent.stdout, sent.stderr)
    assert len(stack.drain(stack.contacts)) == 3
    found = json.loads(operator("doctor", "--json").stdout)
    of = {verdict: {it["subject"] for it in found if it["verdict"] == verdict} for verdict in ("problem", "unknown")}
    # The emulator applies neither TTL nor point-in-time recovery. There is no key of TitanX. Nobody has subscribed to the alarms.
    assert of["problem"] == {"deliveries table", "jobs table", "alarm topic"} and of["unknown"] <= {"subscription"}, found
    print("the released operator, alone in its root: doctor reads the stack, send delivers to it")


def check_healer(template, deploy):
    """Another stack, with the released healer on: it says that it has no key, and with one it fetches what is missing. (The emulator's change
    sets do not see a changed parameter.)
    """
    name = "titanx-receiver-healed"
    succeed(deploy.replace("--stack-name titanx-receiver", f"--stack-name {name}") + " --parameter-overrides HealerEnabled=true")
    stack = Released(template, name)
    stack.store(emulator.SECRET)
    functions, name = stack.aws("lambda"), stack.resources["HealerFunction"]

    def run():
        answer = functions.invoke(FunctionName=name, Payload=b"{}")
        return answer.get("FunctionError"), answer["Payload"].read().decode()

    error, said = run()
    assert error and "no API key of TitanX is stored" in said, said
    # A job of which neither a contact nor the completion arrived.
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 80 * 3600))
    person = {"customerContactId": "c-1", "lastName": "Missing", "phone": "+1 202-555-0102", "phoneStatus": "High Propensity"}
    titanx = Api({"job-2": [person]}, times={"createdAt": at, "modifiedAt": at})
    stack.aws("secretsmanager").put_secret_value(SecretId=stack.outputs["TitanxApiKeyArn"], SecretString=API_KEY)
    variables = functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    variables["TITANX_API_URL"] = titanx.url
    functions.update_function_configuration(FunctionName=name, Environment={"Variables": variables})
    error, said = run()
    assert not error and "RoundFinished" in said, said
    [message] = stack.receive(stack.contacts)
    assert json.loads(message["Body"])["payload"]["lastName"] == "Missing", message
    assert message["MessageAttributes"]["source"]["StringValue"] == "backfill", message
    assert stack.status(contact()[1]) == 200
    print("the released healer, turned on by a parameter: a contact that was never delivered is on the queue")


check_bareness()
with Emulator(folder):
    # In the root, too.
    certificate = os.environ["AWS_CA_BUNDLE"]
    os.environ["AWS_CA_BUNDLE"] = str(shutil.copy(certificate, release / "emulator.pem"))
    for file in dist.iterdir():
        shutil.copy(file, release)
    begun = time.monotonic()
    succeed(readme_command("sha256sum")[1])
    _, deploy = readme_command("sam", "deploy", "--template-file")
    succeed(deploy)
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
    assert "HealerFunction" not in stack.resources
    check_operator(stack)
    check_healer(template, deploy)
