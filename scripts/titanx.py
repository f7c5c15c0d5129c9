"""TitanX as scripts/deploy-check and scripts/stack-check need it: its API, and its deliveries. Written from TitanX's documentation alone."""

import http.client
import http.server
import json
import threading
import time
import urllib.parse
import uuid

from emulator import SECRET, contact

API_KEY = "synthetic-api-key"
CONTACTS_A_PAGE = 10


class Api(threading.Thread):
    """Subscriptions, jobs and the contacts of a job, over plain HTTP on this machine."""

    def __init__(self, jobs=None, times=None):
        super().__init__(daemon=True)
        self.jobs, self.subscriptions, self.requests = jobs or {}, {}, []
        # Of every job, where TitanX tells them.
        self.times = times or {}

        class Handler(http.server.BaseHTTPRequestHandler):
            def respond(handler):
                length = int(handler.headers.get("Content-Length", 0))
                body = json.loads(handler.rfile.read(length) or b"{}")
                path, _, query = handler.path.partition("?")
                segments = path.strip("/").split("/")
                self.requests.append(f"{handler.command} {path}")
                if handler.headers.get("Authorization") != f"Bearer {API_KEY}":
                    status, found = 401, {"error": "Unauthorized"}
                else:
                    status, found = self.route(handler.command, segments, dict(urllib.parse.parse_qsl(query)), body)
                answer = json.dumps(found).encode()
                handler.send_response(status)
                handler.send_header("Content-Type", "application/json")
                handler.send_header("Content-Length", str(len(answer)))
                handler.end_headers()
                handler.wfile.write(answer)

            do_GET = do_POST = do_DELETE = respond

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.start()

    def run(self):
        self.server.serve_forever()

    def route(self, method, segments, query, body):
        match [method, *segments]:
            case ["POST", "webhooks"]:
                return self.create(body)
            case ["GET", "webhooks"]:
                return 200, {"payload": [without_secret(it) for it in self.subscriptions.values()]}
            case ["POST", "webhooks", id, ("active" | "inactive") as status] if id in self.subscriptions:
                self.subscriptions[id]["status"] = status
                return 200, {}
            case ["DELETE", "webhooks", id] if id in self.subscriptions:
                del self.subscriptions[id]
                return 200, {}
            case ["GET", "jobs"]:
                return 200, {"data": [self.job(it) for it in self.jobs], "hasMore": False}
            case ["GET", "jobs", job] if job in self.jobs:
                return 200, {"data": self.job(job)}
            case ["GET", "jobs", job, "contacts"] if job in self.jobs:
                contacts, page = self.jobs[job], int(query.get("page", 1))
                shown = contacts[CONTACTS_A_PAGE * (page - 1) : CONTACTS_A_PAGE * page]
                pages = -(-len(contacts) // CONTACTS_A_PAGE)
                return 200, {"data": shown, "page": page, "totalPages": pages, "total": len(contacts)}
        return 404, {"error": "Not found"}

    def job(self, id):
        return {"id": id, "status": "Finalized"} | self.times

    def create(self, body):
        subscription = {
            "id": str(uuid.uuid4()),
            "name": body["name"],
            "url": body["url"],
            "triggers": body["events"],
            "status": body["status"],
            "secret": f"wh_sk_{uuid.uuid4().hex}",
        }
        self.subscriptions[subscription["id"]] = subscription
        return 201, {"payload": subscription}

    def active_secrets(self):
        return [it["secret"] for it in list(self.subscriptions.values()) if it["status"] == "active"]


def without_secret(subscription):
    return {name: value for name, value in subscription.items() if name != "secret"}


class Deliveries:
    """Delivers contacts until it is paused. Retries what may be retried, and drops the rest for good.

    `secrets` gives the secrets of the active subscriptions: each of them gets every event, under an id of its own.
    """

    def __init__(self, stack, senders=1, pause=0.02, secrets=lambda: [SECRET]):
        self.stack, self.gap, self.secrets = stack, pause, secrets
        self.running, self.acknowledged, self.dropped, self.retries = True, [], [], 0
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(senders)]
        for thread in self.threads:
            thread.start()

    def run(self):
        while self.running:
            for secret in self.secrets():
                delivery, body = contact()
                while not self.is_settled(delivery, body, secret):
                    self.retries += 1
                    time.sleep(0.1)
            time.sleep(self.gap)

    def is_settled(self, delivery, body, secret):
        try:
            status = self.stack.status(body, key=secret)
        except (OSError, http.client.HTTPException):
            return False
        if status == 200:
            self.acknowledged.append(delivery)
        elif 400 <= status < 500 and status not in (408, 429):
            self.dropped.append(delivery)
        else:
            return False
        return True

    def wait_for(self, more):
        """Fails if nothing is accepted for a minute."""
        wanted, seen = len(self.acknowledged) + more, -1
        while (now := len(self.acknowledged)) < wanted:
            if now > seen:
                seen, patience = now, time.monotonic() + 60
            assert time.monotonic() < patience, "nothing is accepted any more"
            time.sleep(0.05)

    def pause(self):
        self.running = False
        for thread in self.threads:
            thread.join(60)
            assert not thread.is_alive(), "the last delivery is retried for ever"

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
