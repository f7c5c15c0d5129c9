#!/usr/bin/env bash
# CfnInclude writes its own token's fields into the template where Fn::If stands for a whole map.
#
# Expected, written down before the first run: CfnInclude copies a template as it is, or fails. CloudFormation allows
# Fn::If in property values and in UpdatePolicy, so it stays where it is.
# Observed: synthesis succeeds. The environment of a Lambda function becomes the variables `typeHint`, `value` and
# `disambiguator`, the Fn::If inside `value`. A map of tags becomes the tags `creationStack`, `disambiguator`,
# `typeHint` and `value`, the last with the text "[object Object]": the Fn::If is gone. The same Fn::If around
# a list such as `Layers` is kept.
# Versions: aws-cdk-lib 2.276.0, constructs 10.8.1, Node 20.
# Documented: no. aws/aws-cdk#37734 is about Fn::If around a *list* of tags, #27578 about UpdatePolicy; for the latter
# an error was introduced, which this case does not meet.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --loglevel=error --prefer-offline --no-audit --no-fund --ignore-scripts \
  aws-cdk-lib@2.276.0 constructs@10.8.1 >log 2>&1 ||
  { cat log; exit 1; }
cat >template.json <<'JSON'
{
  "Parameters": {"Stage": {"Type": "String"}},
  "Conditions": {"Live": {"Fn::Equals": [{"Ref": "Stage"}, "live"]}},
  "Resources": {
    "Function": {
      "Type": "AWS::Lambda::Function",
      "Properties": {
        "Code": {"S3Bucket": "bucket", "S3Key": "key"},
        "Role": "arn:aws:iam::123456789012:role/r",
        "Layers": {"Fn::If": ["Live", ["layer"], {"Ref": "AWS::NoValue"}]},
        "Environment": {"Variables": {"Fn::If": ["Live", {"LEVEL": "info"}, {"LEVEL": "debug"}]}}
      }
    },
    "Api": {
      "Type": "AWS::ApiGatewayV2::Api",
      "Properties": {
        "Name": "api",
        "ProtocolType": "HTTP",
        "Tags": {"Fn::If": ["Live", {"team": "a"}, {"team": "b"}]}
      }
    },
    "Alias": {
      "Type": "AWS::Lambda::Alias",
      "Properties": {"FunctionName": {"Ref": "Function"}, "FunctionVersion": "1", "Name": "live"},
      "UpdatePolicy": {
        "Fn::If": [
          "Live",
          {"CodeDeployLambdaAliasUpdate": {"ApplicationName": "application", "DeploymentGroupName": "group"}},
          {"Ref": "AWS::NoValue"}
        ]
      }
    }
  }
}
JSON
cat >include.js <<'JS'
const cdk = require('aws-cdk-lib');
const { CfnInclude } = require('aws-cdk-lib/cloudformation-include');

const app = new cdk.App({ outdir: 'out', analyticsReporting: false });
const stack = new cdk.Stack(app, 'Stack');
new CfnInclude(stack, 'Include', { templateFile: 'template.json' });
const { Function: lambda, Api: api, Alias: alias } = app.synth().getStackByName('Stack').template.Resources;
const fields = (map) => Object.keys(map).sort().join(' ');
console.log('layers:', fields(lambda.Properties.Layers));
console.log('environment:', fields(lambda.Properties.Environment.Variables));
console.log('tags:', fields(api.Properties.Tags), '=', api.Properties.Tags.value);
console.log('update policy:', fields(alias.UpdatePolicy));
JS
seen=$(node include.js 2>log) || { cat log; exit 1; }
echo "$seen"
[ "$seen" = "layers: Fn::If
environment: disambiguator typeHint value
tags: creationStack disambiguator typeHint value = [object Object]
update policy: disambiguator typeHint value" ] || {
  echo "the result differs from the one observed before" >&2
  exit 1
}
