#!/usr/bin/env bash
# The CDK's alarm on the errors of a function's version watches a metric that Lambda never writes.
#
# Expected: fn.currentVersion.metricErrors() has the dimensions with which Lambda writes a version's metrics: FunctionName,
# the bare name, and Resource, the name with the version, as alias.metricErrors() has them with the alias.
# Observed: FunctionName is the name with the version, and there is no Resource. No metric has this, so an alarm on a new
# version, such as one that a gradual deployment is rolled back by, stays at INSUFFICIENT_DATA while the version fails, and
# synthesis says nothing. The same holds for every metric of a version, and for those of an alias that was imported.
# Versions: aws-cdk-lib 2.276.0, constructs 10.8.1, Node 20.
# Documented: Lambda's dimensions are in Lambda's guide, "Types of metrics for Lambda functions". For versions behind an
# alias, aws/aws-cdk#14248 wants ExecutedVersion besides; open.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --loglevel=error --prefer-offline --no-audit --no-fund --ignore-scripts \
  aws-cdk-lib@2.276.0 constructs@10.8.1 >log 2>&1 ||
  { cat log; exit 1; }
cat >alarms.js <<'JS'
const cdk = require('aws-cdk-lib');
const { Alarm } = require('aws-cdk-lib/aws-cloudwatch');
const { Alias, Code, Function: Lambda, Runtime, Version } = require('aws-cdk-lib/aws-lambda');

const app = new cdk.App({ outdir: 'out', analyticsReporting: false });
const stack = new cdk.Stack(app, 'Stack');
const receiver = new Lambda(stack, 'Receiver', {
  functionName: 'receiver',
  code: Code.fromInline('def handle(event, context): pass'),
  handler: 'index.handle',
  runtime: Runtime.PYTHON_3_13,
});
const version = Version.fromVersionAttributes(stack, 'Three', { lambda: receiver, version: '3' });
const metrics = {
  alias: new Alias(stack, 'Alias', { aliasName: 'live', version }).metricErrors(),
  'imported alias': Alias.fromAliasAttributes(stack, 'Imported', { aliasName: 'live', aliasVersion: version }).metricErrors(),
  version: version.metricErrors(),
  'current version': receiver.currentVersion.metricErrors(),
};
for (const [id, metric] of Object.entries(metrics)) new Alarm(stack, id, { metric, threshold: 1, evaluationPeriods: 1, alarmDescription: id });
const { template, messages } = app.synth().getStackByName('Stack');
const names = Object.fromEntries(Object.keys(template.Resources).map((id) => [id, id.startsWith('Receiver') ? 'receiver' : id]));
const text = (value) => {
  if (typeof value === 'string') return value;
  if (value.Ref) return names[value.Ref];
  return value['Fn::Join'] ? value['Fn::Join'][1].map(text).join('') : 'N';
};
for (const { Type, Properties } of Object.values(template.Resources)) {
  if (Type !== 'AWS::CloudWatch::Alarm') continue;
  const dimensions = (Properties.Dimensions ?? []).map(({ Name, Value }) => `${Name} ${text(Value)}`);
  console.log(`${Properties.AlarmDescription}: ${dimensions.join(', ') || 'none'}`);
}
console.log(`messages: ${messages.length}`);
JS
seen=$(node alarms.js 2>log) || { cat log; exit 1; }
echo "$seen"
[ "$seen" = "alias: FunctionName receiver, Resource receiver:live
imported alias: FunctionName receiver:live
version: FunctionName receiver:3
current version: FunctionName receiver:N
messages: 0" ] || {
  echo "the result differs from the one observed before" >&2
  exit 1
}
