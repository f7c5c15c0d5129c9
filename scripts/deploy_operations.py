"""Part of scripts/deploy-check: what an operator and the healer do with a deployed stack."""

import json
import os
import pathlib
import subprocess
import time
import uuid

import emulator
from emulator import Stack, contact
from titanx import API_KEY, Api, Deliveries

HOUR_MS = 3_600_000


def old(body, hours):
    """The same envelope, stamped so many hours ago."""
    envelope = json.loads(body)
    envelope["timestamp"] -= hours * HOUR_MS
    return json.dumps(envelope)


def scored(number):
    """A contact of a job, as TitanX keeps it."""
    return {
        "customerContactId": f"contact-{number}",
        "firstName": "Sample",
        "lastName": f"Person {number}",
        "phone": f"+1 206 555 {100 + number:04}",
        "phoneStatus": "High",
    }


def completed(job):
    """The body of a job.completed."""
    envelope = json.loads(contact()[1]) | {"eventType": "job.completed", "payload": {"jobId": job, "status": "completed"}}
    return json.dumps(envelope)


def run_operator(stack, *arguments, titanx="http://127.0.0.1:9"):
    """The operator against the stack. Its webhook URL is the emulator's. At that address there is no TitanX."""
    host, path = stack.gateway()
    # Of this namespace alone.
    pathlib.Path("/etc/hosts").write_text(f"127.0.0.1 localhost {host}\n")
    return subprocess.run(
        [f"{stack.folder}/operator", *arguments, "--stack", stack.name]
        + ["--url", f"https://{host}:{emulator.PORT}{path}"],
        text=True,
        capture_output=True,
        env=os.environ | {"AWS_REGION": stack.region, "TITANX_API_KEY": API_KEY, "TITANX_API_URL": titanx},
    )


def succeeded(ran, status=0):
    """What a command has printed."""
    assert ran.returncode == status, ran
    return ran.stdout


def check_operations(folder, template):
    stack = Stack(folder, template, "operations", HealerEnabled="true")
    check_alarms(stack)
    check_status(stack)
    check_delivery(stack)
    check_quarantine(stack)
    check_healer(stack)
    stack.delete()


def check_status(stack):
    """Each figure of the dashboard is what was put into its metric. The emulator evaluates no metric filter."""
    cloudwatch = stack.aws("cloudwatch")
    body = json.loads(cloudwatch.get_dashboard(DashboardName=stack.outputs["Dashboard"])["DashboardBody"])
    values, expected = {}, {}
    for widget in body["widgets"]:
        properties = widget["properties"]
        for row in properties.get("metrics", []):
            metric = tuple(it for it in row if isinstance(it, str))
            if metric not in values:
                values[metric] = float(100 + len(values))
                put_metric(cloudwatch, *metric, value=values[metric])
            expected.setdefault(properties["title"], []).append(values[metric])
    rows = json.loads(succeeded(run_operator(stack, "status", "--json")))
    shown = {}
    for row in rows:
        shown.setdefault(row["widget"], []).append(row["hour"]["value"])
    assert shown == expected, (shown, expected)
    print(f"operator status: {len(rows)} figures of {len(values)} metrics, as they were put into CloudWatch")


def put_metric(cloudwatch, namespace, metric, *dimensions, value):
    pairs = [dict(Name=name, Value=it) for name, it in zip(dimensions[::2], dimensions[1::2])]
    datum = {"MetricName": metric, "Dimensions": pairs, "Value": value, "Timestamp": time.time()}
    cloudwatch.put_metric_data(Namespace=namespace, MetricData=[datum])


def check_delivery(stack):
    def shown():
        return json.loads(succeeded(run_operator(stack, "delivery", delivery, "--json")))["state"]

    delivery, body = contact()
    assert stack.status(body) == 200 and shown() == "completed"
    assert stack.request(body) == (200, '{"received": true, "duplicate": true}')
    succeeded(run_operator(stack, "delivery", delivery, "--forget"), status=3)
    succeeded(run_operator(stack, "delivery", delivery, "--forget", "--yes"))
    assert shown() == "absent"
    assert stack.request(body) == (200, '{"received": true}')
    assert stack.drain(stack.contacts) == [delivery] * 2
    print("operator delivery: shown, forgotten, and taken again")


def check_quarantine(stack):
    """Another contact under an id that is taken goes into quarantine. When the first is forgotten, it comes back from there."""
    delivery, body = contact()
    other = json.loads(body)
    other["payload"]["lastName"] = "Another"
    other = json.dumps(other)
    assert stack.request(body) == (200, '{"received": true}')
    assert stack.request(other) == (200, '{"received": true, "quarantined": true}')
    [kept] = json.loads(succeeded(run_operator(stack, "quarantine", "list", "--json")))
    assert kept["reason"] == "id_reused", kept
    succeeded(run_operator(stack, "delivery", delivery, "--forget", "--yes"))
    # The messages that were listed are hidden for a moment.
    wait_until(lambda: stack.depth(stack.outputs["QuarantineQueueUrl"]) == 1)
    succeeded(run_operator(stack, "quarantine", "redrive", "--all"))
    names = [json.loads(it["Body"])["payload"]["lastName"] for it in stack.receive(stack.contacts)]
    assert sorted(names) == ["Another", "Person"], names
    assert json.loads(succeeded(run_operator(stack, "quarantine", "list", "--json"))) == []
    print("operator quarantine: listed, and redriven")


def wait_until(holds, seconds=60):
    patience = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < patience, "not in time"
        time.sleep(0.1)


def check_alarms(stack):
    """Each alarm tells the topic that it rings, and that all is well again."""
    sqs, cloudwatch = stack.aws("sqs"), stack.aws("cloudwatch")
    topic = stack.outputs["AlarmTopicArn"]
    queue = sqs.create_queue(QueueName="alarms")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    stack.aws("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    kinds = {name: it["Type"] for name, it in stack.template["Resources"].items()}
    alarms = [it for name, it in stack.resources.items() if kinds[name] == "AWS::CloudWatch::Alarm"]
    assert len(alarms) > 15, alarms
    for state in ("ALARM", "OK"):
        for alarm in alarms:
            cloudwatch.set_alarm_state(AlarmName=alarm, StateValue=state, StateReason="Tried")
    told, patience = set(), time.monotonic() + 30
    wanted = {(alarm, state) for alarm in alarms for state in ("ALARM", "OK")}
    while told != wanted:
        assert time.monotonic() < patience, wanted - told
        for message in sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=1).get("Messages", []):
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
            alarm = json.loads(json.loads(message["Body"])["Message"])
            told.add((alarm["AlarmName"], alarm["NewStateValue"]))
    print(f"{len(alarms)} alarms tell the topic that they ring, and that all is well again")


def check_healer(stack):
    """A job of which three contacts were never delivered, one of them never scored, is healed by the deployed function."""
    job = str(uuid.uuid4())
    contacts, delivered = [], []
    for number in range(25):
        person = scored(number)
        if number == 24:
            # Never scored.
            del person["phoneStatus"]
        contacts.append(person)
        if number not in (3, 17, 24):
            delivery, body = contact(**person, jobId=job)
            assert stack.status(old(body, 80)) == 200
            delivered.append(delivery)
    assert stack.status(old(completed(job), 80)) == 200
    titanx = Api({job: contacts})
    functions, name = stack.aws("lambda"), stack.resources["HealerFunction"]
    stack.aws("secretsmanager").put_secret_value(SecretId=stack.resources["TitanxApiKey"], SecretString=API_KEY)
    environment = functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    functions.update_function_configuration(
        FunctionName=name, Environment={"Variables": environment | {"TITANX_API_URL": titanx.url}}
    )

    def run():
        ran = functions.invoke(FunctionName=name, Payload=b"{}")
        payload = ran["Payload"].read()
        assert "FunctionError" not in ran, payload
        return json.loads(payload)

    first = run()
    messages = stack.receive(stack.contacts)
    people = [json.loads(it["Body"])["payload"]["customerContactId"] for it in messages]
    assert sorted(people) == sorted(it["customerContactId"] for it in contacts[:24]), people
    backfilled = {
        json.loads(it["Body"])["payload"]["customerContactId"]
        for it in messages
        if it["MessageAttributes"]["deliveryId"]["StringValue"] not in delivered
    }
    assert backfilled == {"contact-3", "contact-17"}, backfilled
    [record] = [it for it in json.loads(succeeded(run_operator(stack, "jobs", "--json"))) if it["job_id"] == job]
    counts = {it: record.get(it) for it in ("state", "contacts_at_titanx", "received", "backfilled", "unscored", "missing")}
    assert counts == {
        "state": "complete",
        "contacts_at_titanx": 25,
        "received": 22,
        "backfilled": 2,
        "unscored": 1,
        "missing": 0,
    }, record
    asked = len(titanx.requests)
    run()
    assert stack.depth(stack.contacts) == 0 and len(titanx.requests) == asked, titanx.requests[asked:]
    print(f"the deployed healer: 2 of 25 contacts backfilled, 1 never scored, {asked} requests to TitanX; {first}")


def check_traffic(folder, template, changed, broken):
    """Deliveries flow while memory size, release and queue type change, a release is broken, the secret is rotated, and a job is reconciled."""
    titanx = Api()
    stack = Stack(folder, template, "traffic")
    succeeded(run_operator(stack, "subscribe", "--settle", "0", titanx=titanx.url))
    [first] = titanx.active_secrets()
    queues = [stack.contacts]
    deliveries = Deliveries(stack, senders=4, pause=0, secrets=titanx.active_secrets)

    told = 0, 0

    def goes_on(what):
        nonlocal told
        deliveries.wait_for(150)
        now = len(deliveries.acknowledged), deliveries.retries
        print(f"  {what}: {now[0] - told[0]} more acknowledged, {now[1] - told[1]} retries")
        told = now

    goes_on("from the start")
    stack.update(MemorySize="256")
    goes_on("another memory size")
    stack.update(changed)
    goes_on("another release")
    for kind in ("fifo", "standard"):
        stack.update(ContactsQueueType=kind)
        queues.append(stack.contacts)
        goes_on(f"a {kind} queue")
    stack.update(broken)
    before = deliveries.retries
    wait_until(lambda: deliveries.retries > before + 40)
    stack.update(template)
    goes_on("a broken release, and the way back")
    succeeded(run_operator(stack, "rotate", "--settle", "0", titanx=titanx.url))
    assert len(titanx.active_secrets()) == 1 and titanx.active_secrets() != [first]
    goes_on("another secret")
    people = reconcile(stack, titanx, deliveries)
    deliveries.wait_for(max(0, 2_000 - len(deliveries.acknowledged)))
    deliveries.pause()
    messages = [it for queue in queues for it in stack.receive(queue)]
    backfilled = [it for it in messages if it["MessageAttributes"].get("source", {}).get("StringValue") == "backfill"]
    delivered = [it["MessageAttributes"]["deliveryId"]["StringValue"] for it in messages if it not in backfilled]
    deliveries.summary(delivered, "updates, a broken release, a rotation")
    names = [json.loads(it["Body"])["payload"]["lastName"] for it in backfilled]
    assert sorted(names) == sorted(people), names
    print(f"operator reconcile, meanwhile: {len(backfilled)} contacts backfilled, each once")
    stack.delete()


def reconcile(stack, titanx, deliveries):
    """Backfills a job, all of whose contacts but one TitanX never delivered. Returns the names of those."""
    job = str(uuid.uuid4())
    contacts = [scored(number) for number in range(12)]
    titanx.jobs[job] = contacts
    [secret] = titanx.active_secrets()
    delivery, body = contact(**contacts[0], jobId=job)
    deliveries.acknowledged.append(delivery)
    for body in (body, completed(job)):
        wait_until(lambda: stack.status(body, key=secret) == 200)
    succeeded(run_operator(stack, "reconcile", job, "--yes", titanx=titanx.url))
    # Nothing is missing any more.
    succeeded(run_operator(stack, "reconcile", job, titanx=titanx.url))
    return [it["lastName"] for it in contacts[1:]]
