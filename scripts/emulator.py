"""An emulated account of AWS (ministack, over TLS) with the stack of template.yaml in it.

Used by scripts/stack-check, scripts/deploy-check and scripts/release-deploy-check, which run it inside a network namespace of its own.

What ministack lacks, and what is done about it here: it makes no routes of an HTTP API's definition, so they are made from the expanded
template. It refuses a whole stack for an alarm on metric math, a composite alarm or a saved query. It resolves no pseudo parameter in a condition
either, and so leaves them out: each has the condition HasMetricMath, or one that implies it. scripts/patched_ministack.py corrects the labels of
a secret's versions.
"""

import base64
import hashlib
import hmac
import http.client
import json
import os
import pathlib
import socket
import ssl
import subprocess
import time
import urllib.parse
import uuid
import zipfile

import boto3
from botocore.exceptions import ClientError

PORT = 4566
ENDPOINT = f"https://localhost:{PORT}"
SECRET = pathlib.Path("events/test-secret.txt").read_text().strip()


class Emulator:
    """ministack, until the program ends."""

    def __init__(self, folder, authorize=False):
        self.folder = pathlib.Path(folder)
        # The queues and the topic refuse what does not come over TLS.
        settings = {"BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(PORT), "USE_SSL": "1", "IOT_MTLS_ENABLED": "0"}
        account = {
            "AWS_ENDPOINT_URL": ENDPOINT,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        os.environ.update(account)
        settings |= self.certificate()
        if authorize:
            settings["AUTH"] = "true"
        log = open(self.folder / "ministack.log", "w")
        self.process = subprocess.Popen(
            ["target/tools/python/bin/python", "scripts/patched_ministack.py"], env=os.environ | settings, stdout=log, stderr=log
        )
        for _ in range(300):
            try:
                socket.create_connection(("localhost", PORT)).close()
                return
            except OSError:
                assert self.process.poll() is None, (self.folder / "ministack.log").read_text()[-4000:]
                time.sleep(0.1)
        raise AssertionError("ministack does not listen")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def certificate(self):
        """Makes a certificate for the emulator, which this program and the functions trust."""
        certificate, key = (str((self.folder / name).resolve()) for name in ("certificate.pem", "key.pem"))
        os.environ["AWS_CA_BUNDLE"] = certificate
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
            + ["-addext", "subjectAltName=DNS:localhost,DNS:*.execute-api.localhost,DNS:*.lambda-url.us-east-1.on.aws", "-addext", "basicConstraints=critical,CA:FALSE"]
            + ["-keyout", key, "-out", certificate],
            check=True,
            capture_output=True,
        )
        return {"MINISTACK_SSL_CERT": certificate, "MINISTACK_SSL_KEY": key}


class Stack:
    """A deployed stack of an expanded template."""

    def __init__(self, folder, template, name="titanx-receiver", region="us-east-1", **parameters):
        self.folder, self.template, self.name, self.region = pathlib.Path(folder), template, name, region
        self.bucket = f"code-{region}-{uuid.uuid5(uuid.NAMESPACE_DNS, name).hex[:8]}"
        elsewhere = {"CreateBucketConfiguration": {"LocationConstraint": region}}
        self.aws("s3").create_bucket(Bucket=self.bucket, **({} if region == "us-east-1" else elsewhere))
        self.parameters = parameters
        self.deploy("create_stack")
        self.store(SECRET)

    def aws(self, service):
        return boto3.client(service, region_name=self.region)

    def deploy(self, action, template=None):
        """Creates or updates the stack. Fails unless it succeeds."""
        self.template = template or self.template
        text = json.dumps(self.template).replace("code-bucket", self.bucket)
        for function, program in [("ReceiverFunction", "bootstrap"), ("HealerFunction", "healer")]:
            key = self.template["Resources"][function]["Properties"]["Code"]["S3Key"]
            if (self.folder / program).exists():
                self.aws("s3").upload_file(str(package(self.folder, key, program)), self.bucket, key)
        self.aws("s3").put_object(Bucket=self.bucket, Key="template.json", Body=text)
        parameters = [{"ParameterKey": name, "ParameterValue": value} for name, value in self.parameters.items()]
        getattr(self.aws("cloudformation"), action)(
            StackName=self.name,
            TemplateURL=f"{ENDPOINT}/{self.bucket}/template.json",
            Capabilities=["CAPABILITY_IAM"],
            Parameters=parameters,
        )
        status = self.settled()
        assert status in ("CREATE_COMPLETE", "UPDATE_COMPLETE"), f"{self.name}: {status}: {self.reasons()}"
        self.look()

    def look(self):
        """Reads the outputs and resources of the deployed stack, and makes its routes."""
        [stack] = self.aws("cloudformation").describe_stacks(StackName=self.name)["Stacks"]
        self.id = stack["StackId"]
        self.outputs = {it["OutputKey"]: it["OutputValue"] for it in stack["Outputs"]}
        self.contacts = self.outputs["ContactsQueueUrl"]
        resources = self.aws("cloudformation").describe_stack_resources(StackName=self.name)["StackResources"]
        self.resources = {it["LogicalResourceId"]: it["PhysicalResourceId"] for it in resources}
        if "WebhookApi" in self.resources:
            self.make_routes(self.resources["WebhookApi"])

    def update(self, template=None, **parameters):
        self.parameters |= parameters
        self.deploy("update_stack", template)

    def delete(self):
        self.aws("cloudformation").delete_stack(StackName=self.id)
        assert self.settled(self.id) == "DELETE_COMPLETE"

    def settled(self, name=None):
        for _ in range(480):
            try:
                [stack] = self.aws("cloudformation").describe_stacks(StackName=name or self.name)["Stacks"]
            except ClientError:
                return "DELETE_COMPLETE"
            if not stack["StackStatus"].endswith("IN_PROGRESS"):
                return stack["StackStatus"]
            time.sleep(0.25)
        raise AssertionError(f"{self.name} does not settle")

    def reasons(self):
        events = self.aws("cloudformation").describe_stack_events(StackName=self.name)["StackEvents"]
        failed = [it for it in events if it["ResourceStatus"].endswith("FAILED")]
        return [f"{it['LogicalResourceId']}: {it.get('ResourceStatusReason')}" for it in failed]

    def make_routes(self, api):
        """The routes of the API's definition, unless an earlier deployment made them."""
        gateway = self.aws("apigatewayv2")
        if gateway.get_routes(ApiId=api)["Items"]:
            return
        for path, methods in self.template["Resources"]["WebhookApi"]["Properties"]["Body"]["paths"].items():
            for method, route in methods.items():
                integration = gateway.create_integration(
                    ApiId=api,
                    IntegrationType="AWS_PROXY",
                    IntegrationUri=self.resources["ReceiverFunctionAliaslive"],
                    PayloadFormatVersion=route["x-amazon-apigateway-integration"]["payloadFormatVersion"],
                )["IntegrationId"]
                key = "$default" if route.get("isDefaultRoute") else f"{method.upper()} {path}"
                gateway.create_route(ApiId=api, RouteKey=key, Target=f"integrations/{integration}")

    def store(self, secret):
        self.aws("secretsmanager").put_secret_value(SecretId=self.outputs["WebhookSecretArn"], SecretString=secret)

    def gateway(self):
        """Host, without its port, and path of the webhook URL in the emulator."""
        url = urllib.parse.urlsplit(self.outputs["WebhookUrl"])
        return url.netloc.replace(f"{self.region}.amazonaws.com", "localhost"), url.path

    def request(self, body, path=None, method="POST", key=SECRET, url=None):
        """The status and the body of the answer at the webhook URL."""
        url = urllib.parse.urlsplit(url or self.outputs["WebhookUrl"])
        trust = ssl.create_default_context(cafile=os.environ["AWS_CA_BUNDLE"])
        connection = http.client.HTTPSConnection("localhost", PORT, timeout=10, context=trust)
        body = body if isinstance(body, bytes) else body.encode()
        signature = base64.b64encode(hmac.new(key.encode(), body, hashlib.sha256).digest()).decode()
        host = url.netloc.replace(f"{self.region}.amazonaws.com", f"localhost:{PORT}")
        headers = {"Host": host, "X-TitanX-Signature": signature, "Content-Type": "application/json"}
        connection.request(method, path or url.path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()

    def status(self, *arguments, **options):
        return self.request(*arguments, **options)[0]

    def receive(self, url):
        """The messages of a queue, which are deleted."""
        sqs, messages, empty = self.aws("sqs"), [], 0
        while empty < 2:
            received = sqs.receive_message(
                QueueUrl=url,
                MaxNumberOfMessages=10,
                MessageAttributeNames=["All"],
                MessageSystemAttributeNames=["All"],
                WaitTimeSeconds=1,
            ).get("Messages", [])
            empty = 0 if received else empty + 1
            for message in received:
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            messages += received
        return messages

    def drain(self, url):
        """The delivery ids of a queue's messages, which are deleted."""
        return [it["MessageAttributes"]["deliveryId"]["StringValue"] for it in self.receive(url)]

    def depth(self, url):
        """The messages of a queue. Fails if it does not exist."""
        name = "ApproximateNumberOfMessages"
        return int(self.aws("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=[name])["Attributes"][name])


def package(folder, key, program="bootstrap"):
    """A zip of the function that this program is, another one for each key."""
    path = folder / key
    if not path.exists():
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            entry = zipfile.ZipInfo("bootstrap")
            entry.external_attr = 0o755 << 16
            archive.writestr(entry, (folder / program).read_bytes())
            archive.writestr("key", key)
    return path


def contact(**payload):
    """The id and the body of a new contact."""
    envelope = {
        "payload": {"firstName": "Sample", "lastName": "Person", "phone": "+1 202-555-0101", "jobId": "job-1"} | payload,
        "eventType": "job.contact.scored",
        "timestamp": int(time.time() * 1000),
        "apiVersion": "v2",
        "id": str(uuid.uuid4()),
    }
    return envelope["id"], json.dumps(envelope)
