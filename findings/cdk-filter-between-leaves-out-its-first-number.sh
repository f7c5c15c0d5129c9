#!/usr/bin/env bash
# The CDK's FilterRule.between(0, 100) for a queue's messages leaves out 0, and Lambda deletes the messages that it leaves out.
#
# Expected: both bounds belong to the range, as in the CDK's other two ranges and in SQL, or neither does.
# Observed: the lower bound is written as > and the upper one as <=. A contact whose score is exactly the first number does
# not match. Lambda takes what does not match its filter from the queue and does not call the function: no error, no dead
# letter. isEqual(0) beside it in an `or` is not possible, since that takes texts only. The range of the same name for an SNS
# subscription and Match.interval for a rule of EventBridge have >= and <=.
# Versions: aws-cdk-lib 2.276.0, constructs 10.8.1, Node 20.
# Documented: no. The reference says "Numeric range comparison operator". We found no issue about it.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --loglevel=error --prefer-offline --no-audit --no-fund --ignore-scripts \
  aws-cdk-lib@2.276.0 constructs@10.8.1 >log 2>&1 || { cat log; exit 1; }
cat >filters.cjs <<'JS'
const { App, Stack, aws_events, aws_lambda, aws_lambda_event_sources, aws_sns, aws_sns_subscriptions, aws_sqs } =
  require('aws-cdk-lib');
const { Template } = require('aws-cdk-lib/assertions');

const stack = new Stack(new App(), 'Receiver');
const queue = new aws_sqs.Queue(stack, 'Contacts');
const handler = new aws_lambda.Function(stack, 'Handler', {
  runtime: aws_lambda.Runtime.NODEJS_22_X,
  handler: 'index.handler',
  code: aws_lambda.Code.fromInline('exports.handler = async () => {}'),
});
handler.addEventSource(new aws_lambda_event_sources.SqsEventSource(queue, {
  filters: [aws_lambda.FilterCriteria.filter({ body: { score: aws_lambda.FilterRule.between(0, 100) } })],
}));
new aws_sns.Topic(stack, 'Topic').addSubscription(new aws_sns_subscriptions.SqsSubscription(queue, {
  filterPolicy: { score: aws_sns.SubscriptionFilter.numericFilter({ between: { start: 0, stop: 100 } }) },
}));
new aws_events.Rule(stack, 'Rule', { eventPattern: { detail: { score: aws_events.Match.interval(0, 100) } } });

const template = Template.fromStack(stack);
const properties = (type) => Object.values(template.findResources(type))[0].Properties;
const [{ Pattern }] = properties('AWS::Lambda::EventSourceMapping').FilterCriteria.Filters;
const lambda = JSON.parse(Pattern).body.score;
const sns = properties('AWS::SNS::Subscription').FilterPolicy.score;
const rule = properties('AWS::Events::Rule').EventPattern.detail.score;
const operators = { '>': (a, b) => a > b, '>=': (a, b) => a >= b, '<=': (a, b) => a <= b };
for (const [name, [{ numeric: [low, first, high, last] }]] of Object.entries({ lambda, sns, rule })) {
  const matched = [0, 1, 100].filter((score) => operators[low](score, first) && operators[high](score, last));
  console.log(`${name}: ${low} ${first} and ${high} ${last}, so of 0, 1 and 100: ${matched.join(', ')}`);
}
JS
seen=$(node filters.cjs 2>log) || { cat log; exit 1; }
echo "$seen"
[ "$seen" = "lambda: > 0 and <= 100, so of 0, 1 and 100: 1, 100
sns: >= 0 and <= 100, so of 0, 1 and 100: 0, 1, 100
rule: >= 0 and <= 100, so of 0, 1 and 100: 0, 1, 100" ] || {
  echo "the result differs from the one observed before" >&2
  exit 1
}
