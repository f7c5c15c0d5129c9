#!/usr/bin/env bash
# The Python libraries of Standard Webhooks and Svix sign another time than the one they are given.
#
# Expected, written down before the first run: sign() takes an aware datetime for the instant that it is, whatever its
# zone. The signature is the same for 12:00+02:00 and 10:00+00:00.
# Observed: both libraries drop the zone and read the clock's figures as UTC. In every zone but UTC the signature is
# for a time that is off by the zone's offset, and their own verify() rejects it if the header has the right time.
# Versions: standardwebhooks 1.1.0, svix 2.9.1.
# Documented: no. It is standard-webhooks/standard-webhooks#251, open.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv python
python/bin/pip install --quiet --disable-pip-version-check standardwebhooks==1.1.0 svix==2.9.1
cat >sign.py <<'PY'
import base64
from datetime import datetime, timedelta, timezone
import standardwebhooks
import svix.webhooks

secret = "whsec_" + base64.b64encode(b"synthetic secret of 32 bytes....").decode()
for name, library in (("standardwebhooks", standardwebhooks), ("svix", svix.webhooks)):
    webhook = library.Webhook(secret)
    for hours in (0, 2):
        now = datetime.now(timezone(timedelta(hours=hours)))
        headers = {
            "webhook-id": "id",
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": webhook.sign("id", now, "{}"),
        }
        try:
            webhook.verify("{}", headers)
            print(f"{name}, UTC+{hours}: verified")
        except library.WebhookVerificationError as error:
            print(f"{name}, UTC+{hours}: {error}")
PY
seen=$(python/bin/python sign.py)
echo "$seen"
[ "$seen" = "standardwebhooks, UTC+0: verified
standardwebhooks, UTC+2: No matching signature found
svix, UTC+0: verified
svix, UTC+2: No matching signature found" ] || {
  echo "the result differs from the one observed before" >&2
  exit 1
}
