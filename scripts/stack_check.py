"""What scripts/stack-check does, inside its network namespace."""

import json
import pathlib
import sys

from emulator import Emulator, Stack, contact
from titanx import Deliveries

folder = pathlib.Path(sys.argv[1])
template = json.loads((folder / "template-1.json").read_text())


def name(url):
    return url.rsplit("/", 1)[1]


def main():
    # Every path.
    stack = Stack(folder, template)
    paths = ["/webhooks/titanx", "/webhooks/titanx/", "/", "/Webhooks/TitanX", "//webhooks//titanx", "/webhooks/titanx?a=b", "/x%20"]
    for path in paths:
        assert stack.status(contact()[1], path) == 200, path
        assert stack.status(contact()[1], path, key="forged") in (401, 429), path
    assert stack.status("", "/", method="GET", key="forged") in (401, 429)
    assert len(stack.drain(stack.contacts)) == len(paths)
    print(f"every path: {len(paths)} of {len(paths)} reach the function")

    # Another queue type, and back.
    titanx, first = Deliveries(stack), stack.contacts
    titanx.wait_for(5)
    stack.update(ContactsQueueType="fifo")
    fifo = stack.contacts
    titanx.wait_for(5)
    assert fifo != first and fifo.endswith(".fifo")
    assert stack.depth(first) >= 5, "the old queue keeps what nobody has read"
    stack.update(ContactsQueueType="standard")
    third = stack.contacts
    titanx.wait_for(5)
    titanx.pause()
    assert third not in (first, fifo)
    queues = [stack.drain(queue) for queue in (first, fifo, third)]
    titanx.summary(sum(queues, []), f"standard, FIFO, standard {[len(it) for it in queues]}")

    # Pause, drain, delete.
    titanx = Deliveries(stack)
    titanx.wait_for(10)
    titanx.pause()
    titanx.summary(stack.drain(stack.contacts), "pause, drain, delete")
    stack.delete()
    for queue in (first, fifo, third, stack.outputs["QuarantineQueueUrl"]):
        assert stack.depth(queue) == 0
    assert stack.outputs["JobsTable"] in stack.aws("dynamodb").list_tables()["TableNames"]
    stack.aws("secretsmanager").get_secret_value(SecretId=stack.outputs["WebhookSecretArn"])
    # The reason for that order: the API that is gone gives final answers.
    assert stack.status(contact()[1]) in (403, 404)

    # The longest name, and again with the queues of the first stack still there.
    longest = "s" * 128
    stack = Stack(folder, template, longest, ContactsQueueType="fifo")
    before = stack.contacts
    stack.delete()
    assert stack.depth(before) == 0
    stack.deploy("create_stack")
    assert stack.contacts != before
    print(f"the longest stack name, twice: {name(before)}, {name(stack.contacts)}")

    # Another region, while the old stack goes on.
    old = Stack(folder, template, "titanx-east")
    new = Stack(folder, template, "titanx-west", region="us-west-2")
    titanx = Deliveries(old)
    titanx.wait_for(5)
    titanx.stack = new
    titanx.wait_for(5)
    titanx.pause()
    received = old.drain(old.contacts), new.drain(new.contacts)
    titanx.summary(sum(received, []), f"another region {[len(it) for it in received]}")


with Emulator(folder):
    main()
