"""What scripts/stack-check does, inside its network namespace."""

import json
import pathlib
import sys
import threading
import time

from emulator import Emulator, Stack, contact

folder = pathlib.Path(sys.argv[1])
template = json.loads((folder / "template-1.json").read_text())


class TitanX(threading.Thread):
    """Delivers contacts until it is paused. Retries what may be retried, and drops the rest for good."""

    def __init__(self, stack):
        super().__init__(daemon=True)
        self.stack, self.running, self.acknowledged, self.dropped, self.retries = stack, True, [], [], 0
        self.start()

    def run(self):
        while self.running:
            delivery, body = contact()
            while not self.is_settled(delivery, body):
                self.retries += 1
                time.sleep(0.1)
            time.sleep(0.02)

    def is_settled(self, delivery, body):
        try:
            status = self.stack.status(body)
        except OSError:
            return False
        if status == 200:
            self.acknowledged.append(delivery)
        elif 400 <= status < 500 and status not in (408, 429):
            self.dropped.append(delivery)
        else:
            return False
        return True

    def wait_for(self, more):
        wanted, patience = len(self.acknowledged) + more, time.monotonic() + 60
        while len(self.acknowledged) < wanted:
            assert time.monotonic() < patience, "nothing is accepted any more"
            time.sleep(0.05)

    def pause(self):
        self.running = False
        self.join(60)
        assert not self.is_alive(), "the last delivery is retried for ever"

    def summary(self, received, what):
        lost = set(self.acknowledged) - set(received)
        second = len(received) - len(set(received))
        print(
            f"{what}: {len(self.acknowledged)} acknowledged, {self.retries} retries, {len(received)} messages, "
            f"{len(lost)} lost, {second} second messages"
        )
        assert not self.dropped, f"{len(self.dropped)} got a final answer"
        assert not lost, f"{what}: lost {lost}"
        assert set(received) == set(self.acknowledged), "a message of no delivery"


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
    titanx, first = TitanX(stack), stack.contacts
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
    titanx = TitanX(stack)
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
    titanx = TitanX(old)
    titanx.wait_for(5)
    titanx.stack = new
    titanx.wait_for(5)
    titanx.pause()
    received = old.drain(old.contacts), new.drain(new.contacts)
    titanx.summary(sum(received, []), f"another region {[len(it) for it in received]}")


with Emulator(folder):
    main()
