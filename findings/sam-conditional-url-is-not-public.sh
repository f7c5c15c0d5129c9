#!/usr/bin/env bash
# SAM makes a function URL without its permissions if AuthType comes from a parameter, and every delivery is answered 403.
#
# Expected, written down before the first run: the permissions that a public function URL needs are made whether AuthType
# is written NONE or is chosen by a parameter or a condition; or the template is refused.
# Observed: with NONE there are two AWS::Lambda::Permission, for InvokeFunctionUrl and for InvokeFunction, beside the URL.
# With !Ref or !If there is none, without an error, also where NONE is the only value that the parameter may have. The
# deployment succeeds, the URL has AuthType NONE, and Lambda refuses all callers before the function runs, so that no log of
# the function tells of it. A sender that takes 4xx for final loses the delivery. A stack that was deployed with NONE loses
# its permissions by the update that introduces the parameter. The same !Ref in AutoPublishAlias is resolved.
# Versions: aws-sam-translator 1.115.0, boto3 1.44.8.
# Documented: no; AuthType is described by its two values, and nothing is said of intrinsic functions.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv python
python/bin/pip install --quiet --disable-pip-version-check aws-sam-translator==1.115.0 boto3==1.44.8
cat >translate.py <<'PY'
import copy
import json
from samtranslator.translator.transform import transform


class NoPolicies:
    def load(self):
        return {}


function = {"Runtime": "python3.14", "Handler": "receiver.handler", "InlineCode": "pass"}
template = {
    "Transform": "AWS::Serverless-2016-10-31",
    "Parameters": {
        "Auth": {"Type": "String", "Default": "NONE", "AllowedValues": ["NONE"]},
        "Alias": {"Type": "String", "Default": "live"},
    },
    "Conditions": {"Public": {"Fn::Equals": ["a", "a"]}},
}
for name, auth in [
    ("NONE", "NONE"),
    ("!Ref", {"Ref": "Auth"}),
    ("!If", {"Fn::If": ["Public", "NONE", "AWS_IAM"]}),
]:
    source = copy.deepcopy(template)
    properties = function | {"AutoPublishAlias": {"Ref": "Alias"}, "FunctionUrlConfig": {"AuthType": auth}}
    source["Resources"] = {"Receiver": {"Type": "AWS::Serverless::Function", "Properties": properties}}
    resources = transform(source, {"Auth": "NONE", "Alias": "live"}, NoPolicies())["Resources"]
    permissions = [
        resource["Properties"]["Action"] for resource in resources.values() if resource["Type"] == "AWS::Lambda::Permission"
    ]
    auth = json.dumps(resources["ReceiverUrl"]["Properties"]["AuthType"])
    alias = resources["ReceiverAliaslive"]["Properties"]["Name"]
    print(f"{name}: alias {alias}, AuthType {auth}, permissions: {' and '.join(permissions) or 'none'}")
PY
seen=$(AWS_DEFAULT_REGION=us-east-1 python/bin/python translate.py 2>log) || { cat log; exit 1; }
echo "$seen"
[ "$seen" = 'NONE: alias live, AuthType "NONE", permissions: lambda:InvokeFunctionUrl and lambda:InvokeFunction
!Ref: alias live, AuthType {"Ref": "Auth"}, permissions: none
!If: alias live, AuthType {"Fn::If": ["Public", "NONE", "AWS_IAM"]}, permissions: none' ] || {
  echo "the result differs from the one observed before" >&2
  exit 1
}
