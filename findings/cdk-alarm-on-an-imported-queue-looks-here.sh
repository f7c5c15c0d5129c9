#!/usr/bin/env bash
# The CDK's alarm on an imported queue of another region watches a queue of that name in its own region.
#
# Expected: an alarm cannot watch a metric of another region, so the CDK refuses to make one of an imported queue, as it
# refuses one of a queue that another stack of the application has there.
# Observed: a queue, function or table that is imported by its ARN knows its region and account (`env`), but its metrics
# carry neither, also after attachTo(queue). The alarm is made without an error or a warning, for a resource of that name
# here. There is none, and the alarm on dead letters stays at INSUFFICIENT_DATA, or at OK if missing data is not breaching;
# if a replica has the same name, the alarm watches the wrong one. Where the region is given with the metric, it is refused
# only in a stack with a region of its own; in one without `env` it is dropped as well.
# Versions: aws-cdk-lib 2.276.0, constructs 10.8.1, Node 20.
# Documented: the README of aws-cloudwatch says that alarms across regions are impossible, and that attachTo copies the
# region and account of a construct.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --loglevel=error --prefer-offline --no-audit --no-fund --ignore-scripts \
  aws-cdk-lib@2.276.0 constructs@10.8.1 >log 2>&1 ||
  { cat log; exit 1; }
cat >alarms.js <<'JS'
const cdk = require('aws-cdk-lib');
const { Alarm, Metric } = require('aws-cdk-lib/aws-cloudwatch');
const { Table } = require('aws-cdk-lib/aws-dynamodb');
const { Function: Lambda } = require('aws-cdk-lib/aws-lambda');
const { Queue } = require('aws-cdk-lib/aws-sqs');

const there = { region: 'eu-west-1', account: '222222222222' };
const here = { region: 'us-east-1', account: '111111111111' };
const arn = (service, resource) => `arn:aws:${service}:${there.region}:${there.account}:${resource}`;
const metrics = {
  'queue of a stack there': (scope) =>
    new Queue(new cdk.Stack(scope.node.root, 'There', { env: there }), 'Queue').metricApproximateNumberOfMessagesVisible(),
  'imported queue': (scope) => Queue.fromQueueArn(scope, 'Queue', arn('sqs', 'dead')).metricApproximateNumberOfMessagesVisible(),
  'imported queue, attachTo': (scope) => {
    const queue = Queue.fromQueueArn(scope, 'Queue', arn('sqs', 'dead'));
    return queue.metricApproximateNumberOfMessagesVisible().attachTo(queue);
  },
  'imported function': (scope) => Lambda.fromFunctionArn(scope, 'Function', arn('lambda', 'function:receiver')).metricErrors(),
  'imported table': (scope) => Table.fromTableArn(scope, 'Table', arn('dynamodb', 'table/t')).metricConditionalCheckFailedRequests(),
  'metric with a region': () => new Metric({ namespace: 'n', metricName: 'm', region: there.region }),
};
for (const env of [here, undefined]) {
  for (const [name, metric] of Object.entries(metrics)) {
    const app = new cdk.App({ outdir: 'out', analyticsReporting: false });
    const stack = new cdk.Stack(app, 'Here', { env });
    let result;
    try {
      new Alarm(stack, 'Alarm', { metric: metric(stack), threshold: 1, evaluationPeriods: 1 });
      const { template, messages } = app.synth().getStackByName('Here');
      const [alarm] = Object.values(template.Resources);
      const knows = JSON.stringify(alarm.Properties).match(/eu-west-1|2{12}/) ? 'with' : 'without';
      result = `alarm ${knows} region or account, ${messages.length} messages`;
    } catch {
      result = 'refused';
    }
    console.log(`stack ${env ? 'with' : 'without'} env, ${name}: ${result}`);
  }
}
JS
seen=$(node alarms.js 2>log) || { cat log; exit 1; }
echo "$seen"
imported="imported queue: alarm without region or account, 0 messages
imported queue, attachTo: alarm without region or account, 0 messages
imported function: alarm without region or account, 0 messages
imported table: alarm without region or account, 0 messages"
[ "$seen" = "$(
  echo "stack with env, queue of a stack there: refused"
  sed 's/^/stack with env, /' <<<"$imported"
  echo "stack with env, metric with a region: refused"
  echo "stack without env, queue of a stack there: refused"
  sed 's/^/stack without env, /' <<<"$imported"
  echo "stack without env, metric with a region: alarm without region or account, 0 messages"
)" ] || {
  echo "the result differs from the one observed before" >&2
  exit 1
}
