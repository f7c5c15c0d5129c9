#!/usr/bin/env bash
# boto3's paginator with MaxItems skips items if those that it returned are deleted before it continues.
#
# Expected: the NextToken of a scan with MaxItems holds the key of the last item that was returned, as LastEvaluatedKey
# does. So a worker that takes three items, deletes them and continues from the token sees every item once. `Count` is
# the number of the items returned.
# Observed: the token holds the key before the *page* and a number. The page is read again and that many items of it are
# dropped, whichever they are by then. After the first three of ten are deleted, the next three are skipped, and four
# items are never seen, without an error. `Count` is that of the whole page, 10 for 3 items. With PageSize equal to
# MaxItems, the token ends at a page, and nothing is skipped.
# Versions: boto3 1.44.8.
# Documented: that MaxItems limits the items in total; not what the token holds. Count is boto/botocore#3523.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv python
python/bin/pip install --quiet --disable-pip-version-check boto3==1.44.8
cat >work.py <<'PY'
import http.server, json, threading
import boto3

table = {}


class Table(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        answer = {}
        if self.headers["x-amz-target"].endswith(".DeleteItem"):
            del table[request["Key"]["id"]["S"]]
        else:
            after = request.get("ExclusiveStartKey", {"id": {"S": ""}})["id"]["S"]
            rest = [item for key, item in sorted(table.items()) if key > after]
            page = rest[: request.get("Limit", 100)]
            answer = {"Items": page, "Count": len(page), "ScannedCount": len(page)}
            if len(page) < len(rest):
                answer["LastEvaluatedKey"] = page[-1]
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("content-type", "application/x-amz-json-1.0")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Table)
threading.Thread(target=server.serve_forever, daemon=True).start()
client = boto3.client(
    "dynamodb",
    endpoint_url=f"http://127.0.0.1:{server.server_port}",
    region_name="us-east-1",
    aws_access_key_id="id",
    aws_secret_access_key="key",
)


def work(**config):
    """Takes three items at a time and deletes them."""
    table.update({key: {"id": {"S": key}} for key in "abcdefghij"})
    seen, counts, token = "", [], None
    while True:
        pages = client.get_paginator("scan").paginate(
            TableName="contacts", PaginationConfig={"MaxItems": 3, "StartingToken": token, **config}
        )
        result = pages.build_full_result()
        counts.append(f"{result['Count']} for {len(result['Items'])}")
        for item in result["Items"]:
            seen += item["id"]["S"]
            client.delete_item(TableName="contacts", Key=item)
        token = result.get("NextToken")
        if token is None:
            return f"seen {seen}, Count {', '.join(counts)}"


print("MaxItems 3:", work())
print("MaxItems 3 and PageSize 3:", work(PageSize=3))
PY
seen=$(python/bin/python work.py)
echo "$seen"
[ "$seen" = "MaxItems 3: seen abcghi, Count 10 for 3, 7 for 3, 4 for 0
MaxItems 3 and PageSize 3: seen abcdefghij, Count 3 for 3, 3 for 3, 3 for 3, 1 for 1" ] || {
  echo "the result differs from the one observed before" >&2
  exit 1
}
