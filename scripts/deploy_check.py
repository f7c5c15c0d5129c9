"""What scripts/deploy-check does, inside its network namespace."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

import emulator
from deploy_operations import check_operations, check_traffic, completed, run_operator
from emulator import Emulator, Stack, contact

folder = pathlib.Path(sys.argv[1])
first, second = (json.loads((folder / f"template-{number}.json").read_text()) for number in (1, 2))
KEY = "arn:aws:kms:us-east-1:000000000000:key/1234abcd-12ab-34cd-56ef-1234567890ab"
DOMAIN = "hooks.example.com"
CERTIFICATE = "arn:aws:acm:us-east-1:000000000000:certificate/1234abcd-12ab-34cd-56ef-1234567890ab"


def check_entrance(stack, prefix=""):
    """Every path below the prefix reaches the function, which takes a delivery once and refuses a forged one."""
    _, body = contact()
    assert stack.request(body) == (200, '{"received": true}')
    assert stack.request(body) == (200, '{"received": true, "duplicate": true}')
    # 401, or 429 while the rationed re-reads of the secrets are used up.
    refusals = [(401, '{"error": "Invalid signature"}'), (429, '{"error": "Signature not recognised yet"}')]
    assert stack.request(contact()[1], key="forged") in refusals
    paths = ["/webhooks/titanx/", "/", "/Webhooks/TitanX", "/webhooks/titanx?a=b", "/x%20"]
    for path in paths:
        assert stack.status(contact()[1], prefix + path) == 200, path
        assert stack.request(contact()[1], prefix + path, key="forged") in refusals, path
    assert stack.request("", prefix + "/", method="GET", key="forged") in refusals
    messages = stack.receive(stack.contacts)
    assert len(messages) == 1 + len(paths), len(messages)
    # A fair queue: the job is the group.
    assert {it["Attributes"]["MessageGroupId"] for it in messages} == {"job-1"}


def check_entrances():
    for entrance, prefix in [("http-api", ""), ("function-url", ""), ("rest-api", "/live")]:
        stack = Stack(folder, first, f"entrance-{entrance}", Entrance=entrance)
        check_entrance(stack, prefix)
        present = {it for it in stack.resources if it.startswith("Webhook") and it != "WebhookSecret"}
        kind = {"http-api": "WebhookApi", "function-url": "WebhookFunctionUrl", "rest-api": "WebhookRestApi"}[entrance]
        assert present and all(it.startswith(kind) for it in present), present
        print(f"{entrance}: every path reaches the function, at {stack.outputs['WebhookUrl']}")
        check_operator(stack)
        print(f"{entrance}: the operator's doctor, send and subscribe reach it")
        if entrance == "rest-api":
            # Bytes that are not UTF-8 arrive as they were signed. (ministack cannot read them through an HTTP API.)
            odd = contact()[1].encode()[:-1] + b', "x": "\xff"}'
            assert stack.request(odd) == (200, '{"received": true, "quarantined": true}')
            print("rest-api: bytes that are not UTF-8 arrive as they were signed")
        if entrance != "function-url":
            check_domain(stack, prefix)


def check_operator(stack):
    """The operator reads the stack, reaches the function at the webhook URL, and its probe knows the function."""
    found = json.loads(run_operator(stack, "doctor", "--json").stdout)
    of = {verdict: {it["subject"] for it in found if it["verdict"] == verdict} for verdict in ("problem", "unknown")}
    # The emulator applies neither TTL nor point-in-time recovery. TitanX is not there. Nobody has subscribed to the alarms.
    problems = {"deliveries table", "jobs table", "alarm topic"}
    assert of == {"problem": problems, "unknown": {"subscription"}}, found
    sent = run_operator(stack, "send", "--count", "1")
    assert sent.returncode == 0 and sent.stdout.startswith("200"), sent
    assert len(stack.drain(stack.contacts)) == 1
    # The probe comes first, and then TitanX.
    subscribed = run_operator(stack, "subscribe")
    assert "no response from http://127.0.0.1:9" in subscribed.stderr, subscribed
    assert "nothing was changed" not in subscribed.stderr, subscribed


def check_domain(stack, prefix):
    stack.update(DomainName=DOMAIN, CertificateArn=CERTIFICATE)
    assert stack.outputs["WebhookUrl"] == f"https://{DOMAIN}/webhooks/titanx"
    assert stack.outputs["DomainTarget"]
    check_entrance(stack)
    stack.update(DomainName="", CertificateArn="")
    assert prefix in stack.outputs["WebhookUrl"] and stack.status(contact()[1]) == 200
    stack.delete()
    print(f"{stack.parameters['Entrance']}: the same at {DOMAIN}, and back")


def broken_release():
    """A template with a function that cannot start."""
    (folder / "broken").write_text("#!/bin/sh\nexit 1\n")
    emulator.package(folder, "bootstrap-3.zip", "broken")
    return json.loads((folder / "template-3.json").read_text())


def check_rules():
    """What cannot work is refused before anything is made."""
    for number, wrong in enumerate(
        [
            {"DomainName": DOMAIN},
            {"CertificateArn": CERTIFICATE},
            {"Entrance": "function-url", "DomainName": DOMAIN, "CertificateArn": CERTIFICATE},
            {"Entrance": "function-url", "AccessLog": "on"},
            {"KmsKeyArn": "alias/key"},
        ]
    ):
        try:
            Stack(folder, first, f"refused-{number}", **wrong)
        except Exception as error:
            assert "ValidationError" in str(error), error
        else:
            raise AssertionError(f"{wrong} was taken")
    print("wrong combinations of parameters are refused")


def live(stack):
    """The version that the alias points to, and its configuration."""
    aws = stack.aws("lambda")
    name = stack.outputs["ReceiverFunction"]
    alias = aws.get_alias(FunctionName=name, Name=stack.outputs["ReceiverAlias"])
    return int(alias["FunctionVersion"]), aws.get_function_configuration(FunctionName=name, Qualifier="live")


def check_versions():
    """Each changed value is in the version that the alias points to."""
    stack = Stack(folder, first, "versions")
    version, _ = live(stack)
    changes = [
        ({"MemorySize": "256"}, lambda it: it["MemorySize"] == 256),
        ({"DeliveryRetentionDays": "9"}, lambda it: it["Environment"]["Variables"]["DELIVERY_RETENTION_DAYS"] == "9"),
        ({"SigningKeyForm": "whole"}, lambda it: it["Environment"]["Variables"]["SIGNING_KEY_FORM"] == "whole"),
        (
            {"ContactsQueueType": "fifo"},
            lambda it: it["Environment"]["Variables"]["CONTACTS_QUEUE_URL"].endswith(".fifo"),
        ),
        ({"KmsKeyArn": KEY}, lambda it: KEY in it["Description"]),
    ]
    for values, reached in changes:
        stack.update(**values)
        before, (version, configuration) = version, live(stack)
        assert version > before, f"{values}: still version {before}"
        assert reached(configuration), f"{values} did not reach version {version}"
        assert stack.status(contact()[1]) == 200, values
    stack.update(second)
    before, (version, _) = version, live(stack)
    assert version > before, "the new code did not reach the alias"
    assert stack.status(contact()[1]) == 200
    # The emulator keeps no key of a function, but its description.
    # What the function does not read makes no version.
    stack.update(LogRetentionDays="60", ReservedConcurrency="5", ThrottlingRateLimit="100")
    assert live(stack)[0] == version
    print(f"each of {len(changes)} changed values and the changed code reached the alias: version {version}")
    return stack


def check_key():
    """With a key, everything that keeps data has it. The emulator shows none of tables, topics and functions: tests/it looks at those."""
    stack = Stack(folder, first, "key", KmsKeyArn=KEY, AccessLog="on")
    assert stack.status(contact()[1]) == 200
    for queue in ("ContactsQueue", "ContactsDeadLetterQueue", "QuarantineQueue", "QuarantineDeadLetterQueue"):
        url = stack.resources[queue]
        attributes = stack.aws("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        assert attributes["KmsMasterKeyId"] == KEY, (queue, attributes)
    secret = stack.aws("secretsmanager").describe_secret(SecretId=stack.outputs["WebhookSecretArn"])
    assert secret["KmsKeyId"] == KEY
    for output in ("ReceiverLogGroup", "AccessLogGroup"):
        name = stack.outputs[output]
        [group] = stack.aws("logs").describe_log_groups(logGroupNamePrefix=name)["logGroups"]
        assert group["kmsKeyId"] == KEY, output
    role = stack.resources["ReceiverRole"]
    assert "receiver-key" in stack.aws("iam").list_role_policies(RoleName=role)["PolicyNames"]
    print("with a key, queues, secret and logs have it")


def check_guided():
    """A newcomer who presses Enter at every question gets a stack."""
    guided = folder / "guided"
    shutil.rmtree(guided, ignore_errors=True)
    (guided / "code").mkdir(parents=True)
    shutil.copy(folder / "bootstrap", guided / "code")
    shutil.copy("samconfig.toml", guided)
    template = pathlib.Path("template.yaml").read_text()
    architecture = first["Resources"]["ReceiverFunction"]["Properties"]["Architectures"][0]
    # Only what `sam build` would have replaced.
    template = template.replace("CodeUri: .\n", "CodeUri: code\n").replace("CodeUri: healer\n", "CodeUri: code\n")
    template = template.replace("[arm64]", f"[{architecture}]")
    (guided / "template.yaml").write_text(template)
    deployed = subprocess.run(
        [str(pathlib.Path("target/tools/bin/sam").resolve()), "deploy", "--guided"],
        cwd=guided,
        input="\n" * 100,
        text=True,
        capture_output=True,
        env=os.environ | {"SAM_CLI_TELEMETRY": "0"},
        timeout=300,
    )
    assert deployed.returncode == 0, deployed.stdout[-3000:] + deployed.stderr[-3000:]
    [stack] = emulator.boto3.client("cloudformation").describe_stacks(StackName="titanx-receiver")["Stacks"]
    assert stack["StackStatus"] == "CREATE_COMPLETE", deployed.stdout[-3000:]
    print("sam deploy --guided, with Enter throughout: CREATE_COMPLETE")


def check_deploy_alone(stack):
    """The README's command for the function alone leaves the stack's memory and timeout, and reaches the alias."""
    name = stack.outputs["ReceiverFunction"]
    before, was = live(stack)
    command = readme_command("cargo lambda deploy")
    command = command.replace('"$RECEIVER_FUNCTION"', name)
    built = folder / "lambda" / "receiver"
    built.mkdir(parents=True, exist_ok=True)
    # Another binary than the stack's. What follows the sections of an ELF file is not loaded.
    (built / "bootstrap").write_bytes((folder / "bootstrap").read_bytes() + b"changed")
    subprocess.run(
        [*command.split(), "--lambda-dir", str(built.parent), "--endpoint-url", emulator.ENDPOINT],
        check=True,
        env=os.environ
        | {"SSL_CERT_FILE": os.environ["AWS_CA_BUNDLE"]}
        | {"PATH": f"{pathlib.Path('target/tools/bin').resolve()}:{os.environ['PATH']}"},
    )
    version, now = live(stack)
    assert version > before, f"the alias still points to version {before}"
    kept = ("MemorySize", "Timeout", "Environment", "Role", "LoggingConfig")
    assert {it: now.get(it) for it in kept} == {it: was.get(it) for it in kept}, now
    assert was["MemorySize"] == 256 and stack.status(contact()[1]) == 200
    print(f"cargo lambda deploy: version {version} behind the alias, with the stack's {now['MemorySize']} MB")


def readme_command(beginning):
    found = subprocess.run(["scripts/readme-command", beginning], text=True, capture_output=True, check=True)
    return found.stdout.split("#")[0].strip()


def check_role():
    """Without one of its permissions, the function gives exactly the right answer, and loses nothing."""
    stack = Stack(folder, first, "role")
    role, iam = stack.resources["ReceiverRole"], stack.aws("iam")
    policy = iam.get_role_policy(RoleName=role, PolicyName="receiver")["PolicyDocument"]
    # In the emulator the Ref of a secret is its name. In AWS it is the ARN, which a policy needs.
    secret = stack.aws("secretsmanager").describe_secret(SecretId=stack.outputs["WebhookSecretArn"])
    policy = json.loads(json.dumps(policy).replace(f'"{secret["Name"]}"', f'"{secret["ARN"]}"'))
    unavailable, received = (503, '{"error": "Unavailable"}'), (200, '{"received": true}')
    taken = set()

    def without(*actions):
        """The role without these actions. An action is what one of its statements names."""
        left = json.loads(json.dumps(policy))
        for statement in left["Statement"]:
            statement["Action"] = [it for it in statement["Action"] if it not in actions]
        left["Statement"] = [it for it in left["Statement"] if it["Action"]]
        iam.put_role_policy(RoleName=role, PolicyName="receiver", PolicyDocument=json.dumps(left))
        taken.update(actions)

    def restore():
        iam.put_role_policy(RoleName=role, PolicyName="receiver", PolicyDocument=json.dumps(policy))

    def later(body):
        """TitanX's next attempt, with all permissions."""
        restore()
        assert stack.request(body) == received, body

    restore()
    assert stack.request(contact()[1]) == received
    assert stack.request(completed("job-1")) == received
    stack.drain(stack.contacts)
    # No claim: nothing is done.
    without("dynamodb:PutItem")
    body = contact()[1]
    assert stack.request(body) == unavailable
    assert stack.depth(stack.contacts) == 0
    later(body)
    # No job can be marked. Contacts are taken.
    without("dynamodb:UpdateItem")
    body = completed("job-1")
    assert stack.request(body) == unavailable
    assert stack.request(contact()[1]) == received
    later(body)
    # No contact can be queued. The claim is released, so the next attempt need not wait. Jobs are marked.
    without("sqs:SendMessage")
    body = contact()[1]
    assert stack.request(body) == unavailable
    assert stack.request("not JSON") == unavailable
    assert stack.request(completed("job-1")) == received
    later(body)
    assert stack.request("not JSON") == (200, '{"received": true, "quarantined": true}')
    # Nor can the claim be released: the next attempt waits for the end of the lease, and then succeeds.
    without("sqs:SendMessage", "dynamodb:DeleteItem")
    body = contact()[1]
    assert stack.request(body) == unavailable
    restore()
    assert stack.request(body) == (429, '{"error": "Already in progress"}')
    for _ in range(120):
        if stack.request(body) == received:
            break
        time.sleep(0.1)
    else:
        raise AssertionError("the lease does not end")
    # A new environment has no secret. Nothing is refused for good.
    without("secretsmanager:GetSecretValue")
    stack.update(MemorySize="256")
    body = contact()[1]
    assert stack.request(body) == unavailable
    assert stack.request(contact()[1], key="forged") == unavailable
    later(body)
    assert len(stack.drain(stack.contacts)) == 5
    granted = {action for statement in policy["Statement"] for action in statement["Action"]}
    # Lambda writes the lines itself. The emulator asks nobody's permission for it.
    assert granted - taken == {"logs:CreateLogStream", "logs:PutLogEvents"}, granted - taken
    print(f"each of {len(taken)} permissions taken away: the right answer, and nothing lost")


with Emulator(folder):
    check_rules()
    check_entrances()
    check_guided()
    stack = check_versions()
    check_key()
    check_operations(folder, first)
    check_traffic(folder, first, second, broken_release())
    check_deploy_alone(stack)
with Emulator(folder, authorize=True):
    check_role()
