#!/usr/bin/env bash
# CfnInclude drops the default value of Fn::FindInMap.
#
# Expected, written down before the first run: CfnInclude keeps the fourth argument of Fn::FindInMap, `DefaultValue`,
# or refuses the template.
# Observed: the template is accepted and the fourth argument is missing in the result, without a message. A key that is
# not in the map then fails the deployment. `Fn.findInMap` of the same library writes the default. The transform
# AWS::LanguageExtensions in the source makes no difference. Fn::Length, which it does not know, it refuses.
# Versions: aws-cdk-lib 2.276.0, constructs 10.8.1, Node 20.
# Documented: no. `DefaultValue` is part of CloudFormation, since 2026 without the transform
# (aws-cloudformation/cfn-lint#4627).
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --loglevel=error --prefer-offline --no-audit --no-fund --ignore-scripts \
  aws-cdk-lib@2.276.0 constructs@10.8.1 >log 2>&1 ||
  { cat log; exit 1; }
cat >include.js <<'JS'
const fs = require('fs');
const cdk = require('aws-cdk-lib');
const { CfnInclude } = require('aws-cdk-lib/cloudformation-include');

const source = (properties, transform) => ({
  ...transform,
  Mappings: { Delays: { 'eu-west-1': { seconds: 5 } } },
  Resources: { Queue: { Type: 'AWS::SQS::Queue', Properties: properties } },
});
const lookUp = { DelaySeconds: { 'Fn::FindInMap': ['Delays', { Ref: 'AWS::Region' }, 'seconds', { DefaultValue: 0 }] } };
const synthesize = (name, fill) => {
  const app = new cdk.App({ outdir: name, analyticsReporting: false });
  const stack = new cdk.Stack(app, 'Stack');
  fill(stack);
  return JSON.stringify(app.synth().getStackByName('Stack').template.Resources.Queue.Properties.DelaySeconds);
};
const include = (name, template) => {
  fs.writeFileSync(`${name}.json`, JSON.stringify(template));
  return synthesize(name, (stack) => new CfnInclude(stack, 'Include', { templateFile: `${name}.json` }));
};

console.log('included:', include('plain', source(lookUp)));
console.log('with the transform:', include('transform', source(lookUp, { Transform: 'AWS::LanguageExtensions' })));
console.log('by Fn.findInMap:', synthesize('code', (stack) => {
  new cdk.CfnMapping(stack, 'Delays', { mapping: { 'eu-west-1': { seconds: 5 } } });
  new cdk.CfnResource(stack, 'Queue', {
    type: 'AWS::SQS::Queue',
    properties: { DelaySeconds: cdk.Fn.findInMap('Delays', cdk.Aws.REGION, 'seconds', '0') },
  });
}));
try {
  include('length', source({ DelaySeconds: { 'Fn::Length': ['a', 'b'] } }, { Transform: 'AWS::LanguageExtensions' }));
} catch (error) {
  console.log('Fn::Length:', error.message);
}
JS
seen=$(node include.js 2>log) || { cat log; exit 1; }
echo "$seen"
[ "$seen" = 'included: {"Fn::FindInMap":["Delays",{"Ref":"AWS::Region"},"seconds"]}
with the transform: {"Fn::FindInMap":["Delays",{"Ref":"AWS::Region"},"seconds"]}
by Fn.findInMap: {"Fn::FindInMap":["Delays",{"Ref":"AWS::Region"},"seconds",{"DefaultValue":"0"}]}
Fn::Length: Unsupported CloudFormation function '"'Fn::Length'"'' ] || {
  echo "the result differs from the one observed before" >&2
  exit 1
}
