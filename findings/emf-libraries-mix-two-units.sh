#!/usr/bin/env bash
# Three of four libraries of AWS for CloudWatch metrics write 150 milliseconds as 150 seconds, or 2 seconds as 2 milliseconds.
#
# Expected, written down before the first run: a metric that is added in seconds in one place and in milliseconds in
# another is refused, as Powertools for TypeScript refuses it, or written as two.
# Observed: the values go into one list with one unit. Both libraries called aws-embedded-metrics keep the first unit and
# drop the second without a message, Powertools for Python the last: there, a value in milliseconds at the end of an
# invocation changes the unit of all that came before, and 2 s count as 2 ms. An alarm on "slower than one second" does not
# fire, or fires always, and that depends on the order of the calls.
# Versions: aws-embedded-metrics 3.5.0 (Python) and 4.2.1 (JavaScript), aws-lambda-powertools 3.37.0,
# @aws-lambda-powertools/metrics 2.36.0, Node 20.
# Documented: no. The READMEs of aws-embedded-metrics say that values of one name are put into one list, and that two
# storage resolutions are refused.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --loglevel=error --prefer-offline --no-audit --no-fund --ignore-scripts \
  aws-embedded-metrics@4.2.1 @aws-lambda-powertools/metrics@2.36.0 @aws-lambda-powertools/commons@2.36.0 >log 2>&1 ||
  { cat log; exit 1; }
python3 -m venv python
python/bin/pip install --quiet --disable-pip-version-check aws-embedded-metrics==3.5.0 aws-lambda-powertools==3.37.0
cat >metrics.py <<'PY'
from aws_embedded_metrics import metric_scope
from aws_lambda_powertools import Metrics


@metric_scope
def embedded(metrics):
    metrics.set_namespace("aws-embedded-metrics/Python")
    metrics.put_metric("duration", 2, "Seconds")
    metrics.put_metric("duration", 150, "Milliseconds")


embedded()
powertools = Metrics(namespace="Powertools/Python", service="receiver")
powertools.add_metric("duration", "Seconds", 2)
powertools.add_metric("duration", "Milliseconds", 150)
powertools.flush_metrics()
PY
cat >metrics.mjs <<'JS'
import { Metrics } from '@aws-lambda-powertools/metrics';
import { metricScope } from 'aws-embedded-metrics';

await metricScope((metrics) => () => {
  metrics.setNamespace('aws-embedded-metrics/JavaScript');
  metrics.putMetric('duration', 2, 'Seconds');
  metrics.putMetric('duration', 150, 'Milliseconds');
})();
const powertools = new Metrics({ namespace: 'Powertools/TypeScript', serviceName: 'receiver' });
powertools.addMetric('duration', 'Seconds', 2);
try {
  powertools.addMetric('duration', 'Milliseconds', 150);
} catch {
  console.log('Powertools/TypeScript: refused');
}
JS
cat >tell.py <<'PY'
import json
import sys

for line in sys.stdin:
    if not line.startswith("{"):
        print(line, end="")
        continue
    entry = json.loads(line)
    [directive] = entry["_aws"]["CloudWatchMetrics"]
    values = [f"{value:g}" for value in entry["duration"]]
    print(f"{directive['Namespace']}: {' and '.join(values)} {directive['Metrics'][0]['Unit']}")
PY
# AWS_EMF_ENVIRONMENT=Lambda writes to the standard output, as inside Lambda.
seen=$({
  export AWS_EMF_ENVIRONMENT=Lambda AWS_LAMBDA_FUNCTION_NAME=receiver
  unset POWERTOOLS_DEV
  python/bin/python metrics.py && node metrics.mjs
} 2>log | python/bin/python tell.py) || { cat log; exit 1; }
echo "$seen"
[ "$seen" = "aws-embedded-metrics/Python: 2 and 150 Seconds
Powertools/Python: 2 and 150 Milliseconds
aws-embedded-metrics/JavaScript: 2 and 150 Seconds
Powertools/TypeScript: refused" ] || {
  echo "the result differs from the one observed before" >&2
  exit 1
}
