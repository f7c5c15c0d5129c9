#!/usr/bin/env bash
# Powertools for TypeScript drops the added dimensions after a metric's 100th value.
#
# Expected, written down before the first run: 250 values of a metric with the dimension `tenant` are written in three
# lines, as EMF takes 100 values a metric, and each line has the dimension, as with Powertools for Python.
# Observed: the library writes a line at the 100th value and forgets with it what addDimension and addMetadata have
# added. All further values of the invocation go to the metric without `tenant`, another metric for CloudWatch: an alarm
# on the tenant's contacts sees at most 100 of them, a sum is too small, without a message. The same happens at the 101st
# metric of one invocation. Dimensions from setDefaultDimensions stay.
# Versions: @aws-lambda-powertools/metrics 2.36.0 on Node 20, aws-lambda-powertools 3.37.0 (Python).
# Documented: that 100 metrics are flushed, and that further ones go into a new EMF object; in the reference of
# addDimension, that publishStoredMetrics() clears the dimensions. Not that this happens in between. The issue that the
# flush at 100 values comes from, aws-powertools/powertools-lambda-typescript#1529, asks for the dimensions to be kept.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --loglevel=error --prefer-offline --no-audit --no-fund --ignore-scripts \
  @aws-lambda-powertools/metrics@2.36.0 @aws-lambda-powertools/commons@2.36.0 >log 2>&1 ||
  { cat log; exit 1; }
python3 -m venv python
python/bin/pip install --quiet --disable-pip-version-check aws-lambda-powertools==3.37.0
cat >metrics.mjs <<'JS'
import { Metrics } from '@aws-lambda-powertools/metrics';

for (const add of ['addDimension', 'setDefaultDimensions']) {
  const metrics = new Metrics({ namespace: add, serviceName: 'receiver' });
  if (add === 'addDimension') metrics.addDimension('tenant', 'a');
  else metrics.setDefaultDimensions({ tenant: 'a' });
  metrics.addMetadata('batch', 'b1');
  for (let contact = 0; contact < 250; contact++) metrics.addMetric('scored', 'Count', 1);
  metrics.publishStoredMetrics();
}
JS
cat >metrics.py <<'PY'
from aws_lambda_powertools import Metrics

metrics = Metrics(namespace="Python", service="receiver")
metrics.add_dimension("tenant", "a")
metrics.add_metadata("batch", "b1")
for _ in range(250):
    metrics.add_metric("scored", "Count", 1)
metrics.flush_metrics()
PY
cat >tell.py <<'PY'
import json
import sys

for line in map(json.loads, sys.stdin):
    [directive] = line["_aws"]["CloudWatchMetrics"]
    [dimensions] = directive["Dimensions"]
    names = " and ".join(sorted(dimensions))
    print(f"{directive['Namespace']}: {len(line['scored'])} values by {names}, metadata {line.get('batch')}")
PY
# Without POWERTOOLS_DEV, which would print for people.
seen=$({ env -u POWERTOOLS_DEV node metrics.mjs && python/bin/python metrics.py; } 2>log | python/bin/python tell.py) ||
  { cat log; exit 1; }
echo "$seen"
[ "$seen" = "addDimension: 100 values by service and tenant, metadata b1
addDimension: 100 values by service, metadata None
addDimension: 50 values by service, metadata None
setDefaultDimensions: 100 values by service and tenant, metadata b1
setDefaultDimensions: 100 values by service and tenant, metadata None
setDefaultDimensions: 50 values by service and tenant, metadata None
Python: 100 values by service and tenant, metadata b1
Python: 100 values by service and tenant, metadata b1
Python: 50 values by service and tenant, metadata b1" ] || {
  echo "the result differs from the one observed before" >&2
  exit 1
}
